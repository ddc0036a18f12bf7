//! A tool that may write to no file. On SQLite, it could not write a ticket either.

use crate::{
    output::SOON,
    tool::{self, Running, database_with, tool_from},
};
use std::{io::Write, process::Stdio, thread, time::Duration};

#[test]
fn a_file_size_limit_loses_only_the_message() {
    let database = database_with(1);
    let file = tempfile::NamedTempFile::new().unwrap();
    let limited = ["sh", "-c", "ulimit -f 0; exec \"$@\"", "sh"];
    let check = |words: &[&str], expected| {
        let mut tool = tool_from(&limited, tool::url(&database));
        tool.args(words)
            .stderr(file.reopen().unwrap())
            .stdout(file.reopen().unwrap());
        assert_eq!(
            Running::start(&mut tool).end_within(SOON),
            expected,
            "{words:?}"
        );
    };
    check(&["list"], 1);
    check(&["run", "x", "--", "/nowhere/nothing"], 127);
    check(
        &["run", "x", "--kill-with-parent", "--", "/nowhere/nothing"],
        127,
    );

    let mut tool = tool_from(&limited, tool::url(&database));
    tool.args([
        "run",
        "x",
        "--",
        "sh",
        "-c",
        "trap 'exit 5' XFSZ; trap '' TERM; echo begun; read -r _; exit 4",
    ])
    .stderr(file.reopen().unwrap())
    .stdin(Stdio::piped())
    .stdout(Stdio::piped());
    let mut tool = Running::start(&mut tool);
    assert_eq!(tool.line(), "begun");
    database.lose();
    // The message has been tried: the next look at the ticket is a second later.
    thread::sleep(Duration::from_millis(1500));
    writeln!(tool.0.stdin.take().unwrap()).unwrap();
    assert_eq!(tool.end_within(SOON), 76);
}
