//! Measures speed on MySQL and MariaDB, with the topics of benches/speed where they do not depend on the database.
//!
//! `cargo bench --features mysql,stand/mysql --bench mysql -- --help` lists them. The server has its default
//! durability. `peers` are ways by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Some of what the topics share is for PostgreSQL alone.
#![allow(dead_code)]

#[path = "../speed/acquire.rs"]
mod acquire;
#[path = "../speed/case.rs"]
mod case;
#[path = "../speed/contestants.rs"]
mod contestants;
#[path = "../speed/hand_off.rs"]
mod hand_off;
mod kit;
#[path = "../speed/options.rs"]
mod options;
mod peers;
#[path = "../speed/queue/mod.rs"]
mod queue;
mod refusals;
mod scale;
#[path = "../speed/topics.rs"]
mod topics;

use std::process::ExitCode;
use topics::Topic;

const HELP: &str = "\
cargo bench --features mysql,stand/mysql --bench mysql -- [TOPIC ..] [OPTIONS]

Topics: acquire, scale, queue, hand-off, peers (these if none is named), refusals (a million calls, which take minutes).
";

const JSON: &str = "target/bench-mysql.json";

const DEFAULT_TOPICS: &[&str] = &["acquire", "scale", "queue", "hand-off", "peers"];

const TOPICS: &[(&str, Topic)] = &[
    ("acquire", acquire::run),
    ("scale", scale::run),
    ("queue", queue::run),
    ("hand-off", hand_off::run),
    ("peers", peers::run),
    ("refusals", refusals::run),
];

fn main() -> ExitCode {
    topics::run()
}
