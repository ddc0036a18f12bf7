//! Prints the first table of docs/benchmarks.md, and other figures of that page, from the file of figures. It measures
//! nothing.

mod contestants;

use crate::{kit::Report, options::Options};
use contestants::{BEST, COMMITTED, GUARD, IN_LINE, ROLLED_BACK};

/// A section, what its rows have in common, and the column.
type Place = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const SHARED: &[(&str, &str)] = &[("tickets", "3"), ("workers", "16")];

/// The label, where the figures are, and of which contestants.
const TABLE: [(&str, Place, [&str; 4]); 10] = [
    (
        "acquire and release, 1 client: rate, empty transactions = 1",
        ("peers", &[("clients", "1")], "of_round_trips"),
        ROLLED_BACK,
    ),
    (
        "acquire and release, 8 clients: rate, empty transactions = 1",
        ("peers", &[("clients", "8")], "of_round_trips"),
        ROLLED_BACK,
    ),
    (
        "acquire and release, 8 clients that commit: rate, empty transactions = 1",
        ("peers", &[("clients", "8")], "of_round_trips"),
        COMMITTED,
    ),
    (
        "acquire if the first 90,000 of 100,000 are held: time, empty transaction = 1",
        (
            "peers_many",
            &[("tickets", "100000"), ("held", "90000")],
            "time_of_round_trips",
        ),
        BEST,
    ),
    (
        "refusal if all 1,000 are held: time, empty transaction = 1",
        (
            "peers_many",
            &[("tickets", "1000"), ("held", "1000")],
            "time_of_round_trips",
        ),
        BEST,
    ),
    (
        "longest wait (p99) of 16 workers that share 3 tickets, perfect queue = 1",
        ("peers_queue", SHARED, "p99_of_perfect"),
        IN_LINE,
    ),
    (
        "fairness (Jain) of these workers",
        ("peers_queue", SHARED, "fairness"),
        IN_LINE,
    ),
    (
        "share of time that the tickets are in use",
        ("peers_queue", SHARED, "in_use"),
        IN_LINE,
    ),
    (
        "server's CPU for these workers, % of a core",
        ("peers_queue", SHARED, "server_cpu"),
        IN_LINE,
    ),
    (
        "longest wait (p99) of 8 workers that share 1 ticket, perfect queue = 1",
        (
            "peers_queue",
            &[("tickets", "1"), ("workers", "8")],
            "p99_of_perfect",
        ),
        IN_LINE,
    ),
];

/// Single figures, for the text.
const TEXT: [(&str, Place); 18] = [
    (
        "guard, of the barest row lock, 1 client",
        (
            "acquire",
            &[("what", GUARD), ("clients", "1")],
            "of_row_lock",
        ),
    ),
    (
        "2 clients",
        (
            "acquire",
            &[("what", GUARD), ("clients", "2")],
            "of_row_lock",
        ),
    ),
    (
        "8 clients",
        (
            "acquire",
            &[("what", GUARD), ("clients", "8")],
            "of_row_lock",
        ),
    ),
    (
        "32 clients",
        (
            "acquire",
            &[("what", GUARD), ("clients", "32")],
            "of_row_lock",
        ),
    ),
    (
        "own transaction, of the barest row lock, 32 clients",
        (
            "acquire",
            &[("what", "own transaction, rolled back"), ("clients", "32")],
            "of_row_lock",
        ),
    ),
    (
        "100,000 available, time of 3 available",
        (
            "scale",
            &[("what", "all available"), ("tickets", "100000")],
            "time_of_3_free",
        ),
    ),
    (
        "a block of 90 % held",
        (
            "scale",
            &[
                ("what", "a block"),
                ("tickets", "100000"),
                ("held_percent", "90"),
            ],
            "time_of_3_free",
        ),
    ),
    (
        "90 % held at random",
        (
            "scale",
            &[
                ("what", "at random"),
                ("tickets", "100000"),
                ("held_percent", "90"),
            ],
            "time_of_3_free",
        ),
    ),
    (
        "99 % held at random",
        (
            "scale",
            &[
                ("what", "at random"),
                ("tickets", "100000"),
                ("held_percent", "99"),
            ],
            "time_of_3_free",
        ),
    ),
    (
        "100,000 semaphores, time of 1",
        ("semaphores", &[("semaphores", "100000")], "time_of_1"),
    ),
    (
        "hand-off after release, p99 in ms",
        (
            "hand_off",
            &[("what", "after release"), ("of", "ours")],
            "p99_ms",
        ),
    ),
    (
        "p50, of a blocked row lock's",
        (
            "hand_off",
            &[("what", "after release"), ("of", "ours")],
            "p50_of_row_lock",
        ),
    ),
    (
        "hand-off after kill -9, p99 in ms",
        (
            "hand_off",
            &[("what", "after kill -9"), ("of", "ours")],
            "p99_ms",
        ),
    ),
    ("200 wait: % of a core", ("long_queue", &[], "server_cpu")),
    (
        "WAL flushes, guard",
        ("cost", &[("what", GUARD)], "wal_flushes"),
    ),
    (
        "WAL bytes, guard",
        ("cost", &[("what", GUARD)], "wal_bytes"),
    ),
    (
        "WAL bytes, row lock",
        ("cost", &[("what", "row lock")], "wal_bytes"),
    ),
    (
        "backend's CPU, of a row lock's",
        ("cost", &[("what", GUARD)], "backend_cpu_of_row_lock"),
    ),
];

pub(crate) fn run(_options: &Options, report: &mut Report) {
    println!(
        "| | this crate | `SKIP LOCKED` by hand | advisory locks by hand | django-dbsemaphore |"
    );
    println!("| --- | --- | --- | --- | --- |");
    let figure = |(section, row, column): Place, what: Option<&'static str>| {
        let what = what.map(|what| ("what", what));
        let row: Vec<_> = row.iter().copied().chain(what).collect();
        report
            .figure(section, &row, column)
            .map(short)
            .unwrap_or_default()
    };
    for (says, place, whose) in TABLE {
        let cells = whose.map(|what| figure(place, Some(what)));
        println!("| {says} | {} |", cells.join(" | "));
    }
    println!();
    for (says, place) in TEXT {
        println!("{says}: {}", figure(place, None));
    }
}

fn short(figure: f64) -> String {
    match figure {
        figure if figure >= 10.0 => format!("{figure:.0}"),
        figure if figure >= 2.0 => format!("{figure:.1}"),
        figure if figure >= 0.1 || figure == 0.0 => format!("{figure:.2}"),
        figure => format!("{figure:.3}"),
    }
}
