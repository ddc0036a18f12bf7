//! What it costs to acquire and release, when there are enough tickets for all: the rate of so many clients, each of
//! which does so again and again on a connection of its own, compared with what PostgreSQL can do.
//!
//! `BEGIN; SELECT 1; ROLLBACK` is what the round trips alone cost, and `row lock` the least that a row lock can: by
//! primary key, where each client has a row that nobody else wants. Both are typed Diesel queries, prepared once,
//! on the same connections. What commits, or takes its connection from a pool (which asks the server whether it is
//! still there, one more round trip), is compared with a row lock that does so, too.
//!
//! Client and server share the machine, and are neighbours on a Unix socket: a network would make all of them slower, and
//! ours less so than it is here, since it needs no more round trips than the floors. Nobody waits and nobody is refused.

use crate::{
    contestants::{CHECK_OUT, Contestant, FLOORS, OURS, ROUND_TRIPS},
    kit::{Client, Report, Row, Section, Spread, Stage, rate, rates, ratios},
    options::Options,
};
use std::time::Duration;

pub(crate) fn run(options: &Options, report: &mut Report) {
    let contestants: Vec<Contestant> = FLOORS.into_iter().chain(OURS).chain([CHECK_OUT]).collect();
    let stage = Stage::new();
    let rows = options.clients.iter().flat_map(|&count| {
        let mut clients = stage.clients(count, "x");
        for contestant in &contestants {
            rate_of(contestant, &mut clients, options.slice / 4);
        }
        let rates = rates(options, contestants.len(), |number, time| {
            rate_of(&contestants[number], &mut clients, time)
        });
        let names: Vec<_> = contestants
            .iter()
            .map(|one| (one.name, one.floor))
            .collect();
        compare(count, &names, &rates)
    });
    let rows = rows.collect();
    let title = format!(
        "Acquire and release, as a share of the rate of the floors; {}",
        options.rounds_of_slices()
    );
    let name = "acquire";
    report.add(&stage, Section { name, title, rows });
}

pub(crate) fn rate_of(contestant: &Contestant, clients: &mut [Client], time: Duration) -> f64 {
    rate(clients, time, |client| {
        assert!((contestant.turn)(client, &mut || ()), "refused");
    })
}

/// One row for each: its rate beside those of the floors. `contestants` are names, and the names of their floors.
pub(crate) fn compare(
    clients: usize,
    contestants: &[(&str, &str)],
    rates: &[Vec<f64>],
) -> Vec<Row> {
    let named = |wanted: &str| {
        let mut all = contestants.iter().zip(rates);
        let (_, rates) = all.find(|((name, _), _)| *name == wanted).unwrap();
        rates
    };
    let rows = contestants.iter().zip(rates).map(|((name, floor), rates)| {
        Row::new(name)
            .number("clients", u32::try_from(clients).unwrap())
            .spread("of_row_lock", ratios(rates, named(floor)))
            .spread("of_round_trips", ratios(rates, named(ROUND_TRIPS)))
            .spread("per_second", Spread::of(rates.iter().copied()))
    });
    rows.collect()
}
