//! `stand [--url SCHEME VARIABLE] COMMAND ARG..`: runs the command. Tests in it share private servers, which start when
//! the first test needs them and end with the command. `--url` starts one of them at once, and sets a variable to its URL.

#![allow(clippy::expect_used)]

use std::{
    env,
    process::{Command, ExitCode},
};

const USAGE: &str = "usage: stand [--url postgres|mysql VARIABLE] COMMAND ARG..";

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let mut program = words.next().expect(USAGE);
    let mut url = None;
    if program == "--url" {
        let scheme = words.next().expect(USAGE).into_string().expect(USAGE);
        url = Some((words.next().expect(USAGE), stand::shared_url(&scheme)));
        program = words.next().expect(USAGE);
    }
    let lobby = stand::Lobby::open(stand::shared_url);
    let ended = Command::new(program)
        .args(words)
        .envs([lobby.variable()])
        .envs(url)
        .status()
        .expect("the command can't be started");
    ExitCode::from(u8::try_from(ended.code().unwrap_or(1)).unwrap_or(1))
}
