//! `measure-page times` measures answers of `dbsemaphore serve`, and `measure-page soak SECONDS EVERY` looks for what it leaks
//! while its database is restarted each EVERY seconds. Exit code 101 if something exceeds its limit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod soak;
mod times;

use std::{env, time::Duration};

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let seconds = |word: &str| Duration::from_secs(word.parse().expect("a number of seconds"));
    match words[..] {
        ["times"] => times::run(),
        ["soak", all, every] => soak::run(seconds(all), seconds(every)),
        _ => panic!("usage: measure-page times | measure-page soak SECONDS EVERY"),
    }
}
