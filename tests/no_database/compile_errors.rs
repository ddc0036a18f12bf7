//! What the compiler says of a connection that can't be used. Its words are those of one version of the compiler.

#[test]
fn each_compile_error_names_the_remedies() {
    let version = std::process::Command::new("rustc")
        .arg("--version")
        .output()
        .unwrap();
    if String::from_utf8_lossy(&version.stdout).starts_with("rustc 1.95.") {
        let cases = trybuild::TestCases::new();
        cases.compile_fail("tests/ui/*.rs");
        if cfg!(feature = "sqlite") {
            cases.compile_fail("tests/ui/sqlite/*.rs");
        }
    } else {
        eprintln!("not compared: this is not Rust 1.95");
    }
}
