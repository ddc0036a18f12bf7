//! The README's quick start is that of the crate's first page. The crate `guide` runs the other examples of the README.

#[test]
fn quick_start_is_that_of_the_documentation() {
    let documented: Vec<&str> = include_str!("../../src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .filter(|line| !line.starts_with("# "))
        .collect();
    let documented = documented.join("\n");
    let blocks: Vec<&str> = include_str!("../../README.md")
        .split("```rust\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        assert!(documented.contains(block), "not in src/lib.rs:\n{block}");
    }
}
