//! What a person sees: on a terminal a picture that changes, elsewhere a line for each event.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write, stdout},
};

#[derive(Default)]
pub(crate) struct Screen {
    live: bool,
    drawn: usize,
    /// What each worker works on.
    work: BTreeMap<u32, String>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            live: stdout().is_terminal(),
            ..Self::default()
        }
    }

    pub(crate) fn works_on(&mut self, worker: u32, job: &str) {
        if !self.live {
            println!("worker {worker}: {job}");
        }
        self.work.insert(worker, job.to_owned());
    }

    /// Something worth remembering: it stays above the picture.
    pub(crate) fn say(&mut self, line: &str) {
        self.wipe();
        println!("{line}");
    }

    pub(crate) fn draw(
        &mut self,
        size: u32,
        done: usize,
        jobs: usize,
        inside: &BTreeMap<u32, Vec<i64>>,
    ) {
        if !self.live {
            return;
        }
        self.wipe();
        let mut tickets: Vec<(i64, u32)> = inside
            .iter()
            .flat_map(|(worker, tickets)| tickets.iter().map(|ticket| (*ticket, *worker)))
            .collect();
        tickets.sort_unstable();
        let rows = tickets.len().max(size as usize);
        for row in 0..rows {
            match tickets.get(row) {
                Some((ticket, worker)) => {
                    let job = self.work.get(worker).map_or("", String::as_str);
                    let job: String = job.chars().take(48).collect();
                    println!("  ticket {ticket:<3} worker {worker:<8} {job}");
                }
                None => println!("  ticket available"),
            }
        }
        let full = (done * 40).checked_div(jobs).unwrap_or(40);
        println!(
            "  {}{} {done} of {jobs} jobs, {size} tickets",
            "█".repeat(full),
            "░".repeat(40 - full)
        );
        self.drawn = rows + 1;
        let _ = stdout().flush();
    }

    pub(crate) fn wipe(&mut self) {
        if self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
        }
        self.drawn = 0;
    }
}
