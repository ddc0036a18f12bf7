//! Measures speed: the figures in docs/benchmarks.md and others, as ratios to what PostgreSQL itself can do and to what
//! people use instead.
//!
//! `cargo bench --bench speed -- --help` lists the topics, a module each, which says what it measures and what not. All
//! that is compared runs on one server, with PostgreSQL's default durability, in interleaved rounds that each begin with
//! another contestant; what counts is the ratio within a round, of which the median, the least and the most over all
//! rounds are printed. Rates and times beside them depend on the machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acquire;
mod advisory;
mod case;
mod chart;
mod contestants;
mod cost;
mod hand_off;
mod kit;
mod memory;
mod options;
mod peers;
mod queue;
mod readme;
mod scale;
mod topics;

use std::process::ExitCode;
use topics::Topic;

const HELP: &str = "\
cargo bench --bench speed -- [TOPIC ..] [OPTIONS]

Topics: acquire, scale, queue, hand-off, cost (these five if none is named); memory; peers; network; chart, readme.
";

const JSON: &str = "target/bench.json";

const DEFAULT_TOPICS: &[&str] = &["acquire", "scale", "queue", "hand-off", "cost"];

const TOPICS: &[(&str, Topic)] = &[
    ("acquire", acquire::run),
    ("scale", scale::run),
    ("queue", queue::run),
    ("hand-off", hand_off::run),
    ("cost", cost::run),
    ("memory", memory::run),
    ("peers", peers::run),
    ("network", peers::network),
    ("chart", chart::run),
    ("readme", readme::run),
];

fn main() -> ExitCode {
    topics::run()
}
