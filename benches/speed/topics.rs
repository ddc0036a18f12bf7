//! The command line: which topics run.

use crate::{HELP, TOPICS, hand_off, kit::Report, options, options::Options, queue};
use std::{env, process::ExitCode};

pub(crate) type Topic = fn(&Options, &mut Report);

pub(crate) fn run() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.split_first() {
        Some((role, words)) if role == "worker" => return queue::be_a_worker(words),
        Some((role, words)) if role == "holder" => return hand_off::be_a_holder(words),
        _ => {}
    }
    let options = match Options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n\n{HELP}{}", options::HELP);
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report::open(options.json.clone());
    for topic in &options.topics {
        let Some((_, run)) = TOPICS.iter().find(|(name, _)| name == topic) else {
            eprintln!("no topic {topic:?}\n\n{HELP}{}", options::HELP);
            return ExitCode::FAILURE;
        };
        run(&options, &mut report);
    }
    ExitCode::SUCCESS
}
