use super::*;
use crate::options::{Command, Options};
use clap::Parser;
use std::{
    io::{BufRead, BufReader},
    process::{self, Stdio},
};

/// Drops the supervisor as a panic does.
#[test]
fn a_supervisor_that_is_dropped_ends_its_command() {
    for trap in ["", "trap '' TERM; "] {
        let script = format!("{trap}echo begun; while :; do sleep 0.01; done");
        let words = [
            "", "run", "x", "--grace", "200ms", "--", "sh", "-c", &script,
        ];
        let Command::Run(options) = Options::parse_from(words).command else {
            panic!("these words run something");
        };
        let mut child = process::Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        drop(Supervisor::new(child, &options));
        // The pipe ends when all processes that had it have ended.
        assert_eq!(stdout.read_line(&mut String::new()).unwrap(), 0);
    }
}
