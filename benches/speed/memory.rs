//! Does a million of acquire and release leave anything behind? A guard on a borrowed connection, again and again, in one
//! session, with the memory of both sides at 1, 50 and 100 % of the way.
//!
//! `anonymous` is what a process has got from the system for itself, without files and shared memory; `contexts` is what
//! PostgreSQL says that the session has allocated. Not part of the default run, since it takes minutes.

use crate::{
    contestants::GUARD,
    kit::{Report, Row, Section, Stage, number},
    options::Options,
};
use std::{fs, time::Instant};

pub(crate) fn run(options: &Options, report: &mut Report) {
    let stage = Stage::new();
    let mut clients = stage.clients(1, "x");
    let client = &mut clients[0];
    let session = number(&mut client.conn, "SELECT pg_backend_pid()");
    let mut rows = Vec::new();
    let began = Instant::now();
    for done in 1..=options.operations {
        assert!((GUARD.turn)(client, &mut || ()), "refused");
        let percent = u64::from(done) * 100 / u64::from(options.operations);
        let before = u64::from(done - 1) * 100 / u64::from(options.operations);
        if percent != before && [1, 50, 100].contains(&percent) {
            let contexts = "SELECT sum(total_bytes) / 1024 FROM pg_backend_memory_contexts";
            let row = Row::default()
                .number("operations", done)
                .number("client_anonymous_kb", anonymous("self"))
                .number("server_anonymous_kb", anonymous(&format!("{session:.0}")))
                .number("server_contexts_kb", number(&mut client.conn, contexts))
                .number("seconds", began.elapsed().as_secs_f64().round());
            rows.push(row);
        }
    }
    let title = "Memory over many acquisitions and releases".to_owned();
    let name = "memory";
    report.add(&stage, Section { name, title, rows });
}

/// In kB. On Linux only.
fn anonymous(process: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.unwrap().trim().parse().unwrap()
}
