//! What a worker writes down, one line for each event: with one system call, so that nothing is lost when it is killed,
//! and with the time of the clock that all processes of a machine share.

use nix::time::{ClockId, clock_gettime};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::Duration,
};

/// Since this machine was started.
pub(crate) type Time = Duration;

pub(crate) fn now() -> Time {
    clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into()
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// Asks for so many tickets of this semaphore, with a connection to this backend (0: unknown).
    Call {
        semaphore: String,
        tickets: usize,
        waits: bool,
        /// In the worker's own transaction, which is not a guard's: the application's timeouts may end it.
        low_level: bool,
        pid: i32,
    },
    /// Has got these; if they are lost, it will know within that time.
    Got {
        ids: Vec<i64>,
        token: i64,
        pid: i32,
        within: Duration,
    },
    Refused,
    /// The call failed.
    Failed(String),
    /// They were still held at that time or later.
    Confirmed(Time),
    /// Knows that the tickets are lost, by this error.
    Told(String),
    /// Is about to release them.
    Leaving,
    /// Has released them, and had held them all along.
    Released,
    /// Has released them, and was told nothing.
    Left,
    /// Does this by itself: `panic` or `crash`.
    Does(String),
    /// Its pool has all of its connections, and they work.
    Healthy,
}

pub(crate) struct Log(File);

impl Log {
    pub(crate) fn create(path: &Path) -> Self {
        Self(File::create(path).unwrap())
    }

    pub(crate) fn write(&mut self, event: &Event) {
        let line = match event {
            Event::Call {
                semaphore,
                tickets,
                waits,
                low_level,
                pid,
            } => format!("call {semaphore} {tickets} {waits} {low_level} {pid}"),
            Event::Got {
                ids,
                token,
                pid,
                within,
            } => {
                let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
                format!("got {token} {pid} {} {}", within.as_nanos(), ids.join(" "))
            }
            Event::Refused => "refused".to_owned(),
            Event::Failed(message) => format!("failed {}", message.replace('\n', " ")),
            Event::Confirmed(time) => format!("confirmed {}", time.as_nanos()),
            Event::Told(message) => format!("told {}", message.replace('\n', " ")),
            Event::Leaving => "leaving".to_owned(),
            Event::Released => "released".to_owned(),
            Event::Left => "left".to_owned(),
            Event::Does(what) => format!("does {what}"),
            Event::Healthy => "healthy".to_owned(),
        };
        let line = format!("{} {line}\n", now().as_nanos());
        self.0.write_all(line.as_bytes()).unwrap();
    }
}

pub(crate) fn read(path: &Path) -> Vec<(Time, Event)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // A process that is killed while it writes may leave half a line.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(parse).collect()
}

fn parse(line: &str) -> (Time, Event) {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap();
    let time = nanos(word());
    let event = match word() {
        "call" => Event::Call {
            semaphore: word().to_owned(),
            tickets: word().parse().unwrap(),
            waits: word().parse().unwrap(),
            low_level: word().parse().unwrap(),
            pid: word().parse().unwrap(),
        },
        "got" => Event::Got {
            token: word().parse().unwrap(),
            pid: word().parse().unwrap(),
            within: nanos(word()),
            ids: words.map(|id| id.parse().unwrap()).collect(),
        },
        "refused" => Event::Refused,
        "failed" => Event::Failed(words.collect::<Vec<_>>().join(" ")),
        "confirmed" => Event::Confirmed(nanos(word())),
        "told" => Event::Told(words.collect::<Vec<_>>().join(" ")),
        "leaving" => Event::Leaving,
        "released" => Event::Released,
        "left" => Event::Left,
        "does" => Event::Does(word().to_owned()),
        "healthy" => Event::Healthy,
        other => panic!("no such event: {other}"),
    };
    (time, event)
}

fn nanos(word: &str) -> Duration {
    Duration::from_nanos(word.parse().unwrap())
}
