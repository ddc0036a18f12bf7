//! `stand COMMAND ARG..`: runs the command with `DBSEMAPHORE_TEST_URL` set to a private server that ends with it, unless
//! it is set already.

#![allow(clippy::expect_used)]

use std::{
    env,
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let program = words.next().expect("usage: stand COMMAND ARG..");
    let mut command = Command::new(program);
    command.args(words);
    let server = env::var_os("DBSEMAPHORE_TEST_URL")
        .is_none()
        .then(stand::Server::start);
    if let Some(server) = &server {
        command.env("DBSEMAPHORE_TEST_URL", server.url());
    }
    let ended = command.status().expect("the command can't be started");
    drop(server);
    ExitCode::from(u8::try_from(ended.code().unwrap_or(1)).unwrap_or(1))
}
