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
    use std::io::Write;

    let version = std::process::Command::new("rustc")
        .arg("--version")
        .output()
        .unwrap();
    if String::from_utf8_lossy(&version.stdout).starts_with("rustc 1.95.") {
        trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
    } else {
        // The test runner would hide what `eprintln` prints.
        let told = writeln!(
            std::io::stderr(),
            "tests/ui: NOT compared, because its errors are those of Rust 1.95: run this test with RUSTUP_TOOLCHAIN=1.95"
        );
        told.unwrap();
    }
}
