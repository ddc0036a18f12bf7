//! What the compiler says of a connection that can't be used. Its words are those of one version of the compiler, and list the
//! connections of all features.

#[cfg(all(
    feature = "postgres",
    feature = "mysql",
    feature = "sqlite",
    feature = "r2d2"
))]
#[test]
fn each_compile_error_names_the_remedies() {
    let version = std::process::Command::new("rustc")
        .arg("--version")
        .output()
        .unwrap();
    if String::from_utf8_lossy(&version.stdout).starts_with("rustc 1.95.") {
        trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
    } else {
        eprintln!("not compared: this is not Rust 1.95");
    }
}
