//! Measures speed: the figures in docs/benchmarks.md and others, as ratios to what PostgreSQL itself can do and to what
//! people use instead.
//!
//! `cargo bench --bench speed -- --help` lists the topics, a module each, which says what it measures and what not. All
//! that is compared runs on one server, with PostgreSQL's default durability, in interleaved rounds that each begin with
//! another contestant; what counts is the ratio within a round, of which the median, the least and the most over all
//! rounds are printed. Rates and times beside them depend on the machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acquire;
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

use crate::{kit::Report, options::Options};
use std::{env, process::ExitCode};

type Topic = fn(&Options, &mut Report);

const TOPICS: [(&str, Topic); 10] = [
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
    let words: Vec<String> = env::args().skip(1).collect();
    match words.split_first() {
        Some((role, words)) if role == "worker" => return queue::be_a_worker(words),
        Some((role, words)) if role == "holder" => return hand_off::be_a_holder(words),
        _ => {}
    }
    let options = match Options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n\n{}", options::HELP);
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report::open(options.json.clone());
    for topic in &options.topics {
        let Some((_, run)) = TOPICS.iter().find(|(name, _)| name == topic) else {
            eprintln!("no topic {topic:?}\n\n{}", options::HELP);
            return ExitCode::FAILURE;
        };
        run(&options, &mut report);
    }
    ExitCode::SUCCESS
}
