//! What standard error is connected to.

use crate::database::Database;
use crate::tool::{self, tool, tool_from};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::{pipe, write},
};
use std::{
    fs::File,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    ReaderEnded,
    DiskFull,
    Closed,
    Unread,
    UnreadNonBlocking,
}

pub(super) const SINKS: [Sink; 5] = [
    Sink::ReaderEnded,
    Sink::DiskFull,
    Sink::Closed,
    Sink::Unread,
    Sink::UnreadNonBlocking,
];

impl Sink {
    /// The tool with this for standard error, and what has to live as long as it.
    pub(super) fn stderr(self, database: &Database) -> (Command, Option<OwnedFd>) {
        let (stderr, reader) = match self {
            Self::Closed => {
                let shell = [
                    "env",
                    "--default-signal",
                    "sh",
                    "-c",
                    "exec \"$@\" 2>&-",
                    "sh",
                ];
                return (tool_from(&shell, tool::url(database)), None);
            }
            Self::DiskFull => (full_disk(), None),
            Self::ReaderEnded => (pipe().unwrap().1.into(), None),
            Self::Unread | Self::UnreadNonBlocking => {
                let (reader, writer) = pipe().unwrap();
                fill(&writer);
                if self == Self::Unread {
                    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
                }
                (writer.into(), Some(reader))
            }
        };
        let mut command = tool(database);
        command.stderr(stderr);
        (command, reader)
    }
}

pub(super) fn full_disk() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// And makes it non-blocking.
pub(super) fn fill(pipe: &OwnedFd) {
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while write(pipe, &[b'x'; 1024]).is_ok() {}
    while write(pipe, b"x").is_ok() {}
}
