//! What the compiler says of a connection that can't be used. Its words are those of one version of the compiler.

#[test]
fn each_compile_error_names_the_remedies() {
    let version = std::process::Command::new("rustc")
        .arg("--version")
        .output()
        .unwrap();
    if String::from_utf8_lossy(&version.stdout).starts_with("rustc 1.95.") {
        // The compiler lists what implements a trait, so the words depend on the features.
        let cases = if cfg!(feature = "sqlite") {
            "tests/ui/sqlite/*.rs"
        } else {
            "tests/ui/*.rs"
        };
        trybuild::TestCases::new().compile_fail(cases);
    } else {
        eprintln!("not compared: this is not Rust 1.95");
    }
}
