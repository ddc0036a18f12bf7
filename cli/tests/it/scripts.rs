//! Commands that are no programs, and a tool that is replaced while it runs.

use crate::database::Database;
use crate::tool::{Running, TOOL, code, copy_file, database_with, tool, until_waiting, url};
use diesel_dbsemaphore::SemaphoreTicket;
use std::{
    env,
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A folder with this file that may be executed.
fn executable(name: &str, text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path, text);
    set_mode(&path, 0o755);
    (folder, path)
}

/// By a process of its own: what is open for writing, here or in a process that another test is about to start, can't be
/// run.
fn write(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "printf %s \"$1\" >\"$0\""])
        .arg(path)
        .arg(text);
    assert!(shell.status().unwrap().success());
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

const WAYS: [&[&str]; 3] = [&[], &["--kill-with-parent"], &["--process-group"]];

/// With this command, found in these folders, from this one. Its exit code and output.
fn run(
    database: &Database,
    words: &[&str],
    path: &OsString,
    current: &Path,
    command: &[&str],
) -> (i32, String) {
    let mut tool = tool(database);
    tool.args(["run", "x"]).args(words).arg("--").args(command);
    let told = tool
        .env("PATH", path)
        .current_dir(current)
        .output()
        .unwrap();
    (code(told.status), String::from_utf8(told.stdout).unwrap())
}

#[test]
fn a_script_without_an_interpreter_runs_as_from_a_shell() {
    let database = database_with(1);
    let (folder, script) = executable("-report", "echo \"$0 $1 $DBSEMAPHORE_NAME\"; exit 3\n");
    let path = {
        let given = env::var_os("PATH").unwrap();
        let folders = [PathBuf::from("/nowhere"), folder.path().to_owned()];
        env::join_paths(folders.into_iter().chain(env::split_paths(&given))).unwrap()
    };
    let script = script.to_str().unwrap();
    let expected = (3, format!("{script} one x\n"));
    for words in WAYS {
        let run = |command: &[&str]| run(&database, words, &path, folder.path(), command);
        assert_eq!(run(&[script, "one"]), expected, "{words:?}");
        assert_eq!(run(&["-report", "one"]), expected, "{words:?}");
        assert_eq!(
            run(&["./-report", "one"]).1,
            "./-report one x\n",
            "{words:?}"
        );
        // As execvp(3) and the shells that use it have it.
        let shell = Command::new("env").arg(script).arg("one").output().unwrap();
        assert_eq!(code(shell.status), 3);
    }
}

#[test]
fn what_cannot_be_run_has_the_same_codes_as_before() {
    let database = database_with(1);
    let (folder, script) = executable("report", "exit 3\n");
    let given = env::var_os("PATH").unwrap();
    for words in WAYS {
        let run = |command: &str| run(&database, words, &given, folder.path(), &[command]).0;
        set_mode(&script, 0o644);
        assert_eq!(run("./report"), 126, "{words:?}");
        assert_eq!(run("."), 126, "{words:?}");
        assert_eq!(run("report"), 127, "{words:?}");
        set_mode(&script, 0o755);
        write(&script, "#!/nowhere/interpreter\n");
        assert_eq!(run("./report"), 127, "{words:?}");
        // Nothing to do.
        write(&script, "");
        assert_eq!(run("./report"), 0, "{words:?}");
    }
}

/// As an upgrade does.
#[test]
fn a_tool_that_is_replaced_while_it_waits_runs_its_command() {
    let database = database_with(1);
    for upgrade in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("dbsemaphore");
        copy_file(Path::new(TOOL), &copy);
        let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
        let mut tool = Command::new(&copy);
        tool.args(["run", "x", "--wait-forever", "--kill-with-parent"])
            .args(["--", "sh", "-c", "echo begun; exit 5"])
            .env("DATABASE_URL", url(&database))
            .stdout(Stdio::piped());
        let mut tool = Running::start(&mut tool);
        until_waiting(&database, 1);
        if upgrade {
            let (_new, other) = executable("dbsemaphore", "#!/bin/sh\nexit 99\n");
            // On the same file system.
            copy_file(&other, &folder.path().join("new"));
            fs::rename(folder.path().join("new"), &copy).unwrap();
        } else {
            fs::remove_file(&copy).unwrap();
        }
        drop(guard);
        assert_eq!((tool.line().as_str(), tool.end()), ("begun", 5));
    }
}

#[test]
fn a_missing_command_is_quoted_in_one_line() {
    let database = database_with(1);
    for words in WAYS {
        let mut tool = tool(&database);
        tool.args(["run", "x"])
            .args(words)
            .args(["--", "no\nwhere"]);
        let told = tool.output().unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        assert_eq!(code(told.status), 127);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(r#""no\nwhere" can't be run"#), "{said}");
    }
}
