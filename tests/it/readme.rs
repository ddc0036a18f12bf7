//! The README's code is that of the crate's documentation, whose examples are run.

#[test]
fn its_code_is_the_code_that_is_tested() {
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
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        assert!(documented.contains(block), "not in src/lib.rs:\n{block}");
    }
}
