//! The cases of `scale`: how many tickets a semaphore has, and which of them are held.

use crate::{
    contestants::{Contestant, FLOORS, ROW_LOCK},
    kit::{Report, Row, Section, Spread, Stage, ratios},
    options::Options,
};

pub(crate) struct Case {
    /// Of its semaphore.
    pub(crate) name: &'static str,
    pub(crate) tickets: u32,
    pub(crate) held: u32,
    /// Otherwise those of the lowest slots are held.
    pub(crate) at_random: bool,
}

impl Case {
    fn new(tickets: u32, held: u32, at_random: bool) -> Self {
        let name = format!("{tickets}, {held}, {at_random}");
        Self {
            // There are a few.
            name: Box::leak(name.into_boxed_str()),
            tickets,
            held,
            at_random,
        }
    }

    /// The first one has 3 available tickets.
    pub(crate) fn all(many: u32) -> Vec<Self> {
        let mut cases: Vec<Self> = [0, 2, 3].map(|held| Self::new(3, held, false)).into();
        let mut sizes = vec![1000.min(many), many];
        sizes.dedup();
        for tickets in sizes {
            for percent in [0, 50, 90, 99, 100] {
                let held = tickets / 100 * percent;
                cases.push(Self::new(tickets, held, false));
                if held > 0 && held < tickets {
                    cases.push(Self::new(tickets, held, true));
                }
            }
        }
        cases
    }

    pub(crate) fn is_full(&self) -> bool {
        self.held == self.tickets
    }

    fn how(&self) -> &'static str {
        match self {
            Self { held: 0, .. } => "all available",
            _ if self.is_full() => "none available: refused",
            _ if self.at_random => "at random",
            _ => "a block",
        }
    }
}

/// What the rates of the cases are compared with.
pub(crate) fn floor() -> Contestant {
    let mut floors = FLOORS.into_iter();
    floors.find(|floor| floor.name == ROW_LOCK).unwrap()
}

/// `rates`: those of the cases, then that of the floor.
pub(crate) fn add(
    report: &mut Report,
    stage: &Stage,
    options: &Options,
    cases: &[Case],
    rates: &[Vec<f64>],
) {
    let rows = cases.iter().zip(rates).map(|(case, each)| {
        let percent = f64::from(case.held) / f64::from(case.tickets) * 100.0;
        Row::new(case.how())
            .number("tickets", case.tickets)
            .number("held_percent", percent.round())
            .spread("time_of_3_free", ratios(&rates[0], each))
            .spread("of_row_lock", ratios(each, &rates[cases.len()]))
            .spread("us", Spread::of(each.iter().map(|rate| 1e6 / rate)))
    });
    let rows = rows.collect();
    let title = format!(
        "A guard's acquire and release, by number of tickets and how many are held; {}",
        options.rounds_of_slices()
    );
    let name = "scale";
    report.add(stage, Section { name, title, rows });
}
