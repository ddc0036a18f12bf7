//! What came of it: judges the logs of all workers.

use crate::{
    arena::{Place, SEMAPHORES},
    backend::Backend,
    fault::Fault,
    fleet::Fleet,
    history::{self, History},
    kind::Kind,
    log::{self, Event, Time},
    report::{self, Own},
    witness::Sight,
};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long a host that is cut off keeps a ticket at the most, if the server doesn't release it before.
const CUT_OFF_WITHOUT_LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Judge<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) fleet: &'a Fleet,
    /// Of each worker.
    pub(crate) places: &'a [Place],
    pub(crate) faults: Vec<Fault>,
    pub(crate) sight: Sight,
    pub(crate) shows_most_held: bool,
}

impl Judge<'_> {
    /// Prints the report, and returns whether there was no violation.
    pub(crate) fn judge<B: Backend>(self, mut violations: Vec<String>) -> bool {
        let mut operations = Vec::new();
        let mut own = Vec::new();
        let present = self.fleet.present();
        for (name, died) in self.fleet.deaths() {
            let log = log::read(&name.log(self.folder));
            // Those that were there at the end: did they end well?
            let is_last = present.iter().any(|member| member.name == name);
            let crashed = matches!(log.last(), Some((_, Event::Does(_))));
            if is_last && !crashed && !log.iter().any(|(_, event)| *event == Event::Healthy) {
                violations.push(format!(
                    "{name:?} lost a connection of its pool: {:?}",
                    log.last()
                ));
            }
            own.extend(done_by_itself(&log));
            let is_afar = !self.places[name.worker as usize].is_near();
            let tail = match B::CUT_OFF {
                // Until it is connected again, and the network notices.
                None if is_afar => CUT_OFF_WITHOUT_LIMIT,
                _ => history::TAIL,
            };
            operations.extend(history::operations(name, &log, died, tail));
        }
        let history = History {
            operations,
            faults: self.faults,
            pauses: self.fleet.pauses(),
            barred: self.sight.barred,
            sizes: SEMAPHORES
                .iter()
                .filter(|(name, _)| *name != "many")
                .map(|(name, size)| ((*name).to_owned(), *size as usize))
                .collect(),
        };
        violations.extend(history.violations());
        println!("the witness looked {} times", self.sight.looks);
        if self.shows_most_held {
            println!("most held at once: {:?}", self.sight.most_held);
        }
        report::print::<B>(&history, &own, &violations);
        violations.is_empty()
    }
}

/// A panic gives the ticket back while it unwinds; after a crash there is nobody to write down when.
fn done_by_itself(log: &[(Time, Event)]) -> impl Iterator<Item = Own> {
    log.iter()
        .enumerate()
        .filter_map(|(position, (at, event))| {
            let Event::Does(what) = event else {
                return None;
            };
            let back = log[position..]
                .iter()
                .find(|(_, event)| *event == Event::Left);
            Some(if what == "panic" {
                Own {
                    kind: Kind::Panic,
                    free_after: back.map(|(back, _)| *back - *at),
                }
            } else {
                Own {
                    kind: Kind::Crash,
                    free_after: None,
                }
            })
        })
}

/// What is still held, or locked, when all have ended.
pub(crate) fn leftovers<B: Backend>(arena: &B) -> Vec<String> {
    let Some(mut conn) = arena.connect() else {
        return vec!["the server is down".to_owned()];
    };
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let mut found = B::leftovers(&mut conn).unwrap();
        found.retain(|(_, count)| *count != 0);
        if found.is_empty() || Instant::now() > end {
            let found = found.iter();
            return found
                .map(|(what, count)| format!("{what}: {count}"))
                .collect();
        }
        thread::sleep(Duration::from_millis(20));
    }
}
