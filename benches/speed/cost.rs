//! What the server has to do for one acquire and release, besides taking time: by one client, with nobody else there.
//!
//! Messages sent, as Diesel tells them (a prepared statement is one); transaction numbers used up; bytes of WAL; flushes
//! of the WAL, those of the background WAL writer included, which nobody waits for; table and index pages that have to be
//! written at the next checkpoint, in all, however many times they were changed; CPU time of the session's process. All
//! but the last are counts, so there is little to be read into a spread.
//!
//! The client's own CPU time is not in here, and neither is what the locks cost those who meet them: VACUUM, others.

use crate::{
    contestants::{CHECK_OUT, Contestant, FLOORS, OURS, ROW_LOCK},
    kit::{Client, Report, Row, Section, Spread, Stage, interleave, number, ratios},
    options::Options,
};
use diesel::{
    Connection, PgConnection,
    connection::{Instrumentation, InstrumentationEvent, SimpleConnection},
};
use stand::session_cpu_time;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

const CALLS: u32 = 1000;
const FIGURES: [&str; 6] = [
    "backend_us",
    "messages",
    "xids",
    "wal_bytes",
    "wal_flushes",
    "pages_in_all",
];

pub(crate) fn run(options: &Options, report: &mut Report) {
    // Nobody else writes.
    let stage = Stage::with(&["autovacuum=off", "bgwriter_lru_maxpages=0"]);
    let contestants: Vec<Contestant> = FLOORS
        .into_iter()
        .chain(OURS)
        .filter(|contestant| ![contestant.name, contestant.floor].contains(&CHECK_OUT.floor))
        .collect();
    let mut clients = stage.clients(1, "x");
    let client = &mut clients[0];
    let mut books = Books::open(&stage, client);
    for contestant in &contestants {
        books.cost(client, contestant);
    }
    let rounds = options.rounds.min(5);
    let costs = interleave(rounds, contestants.len(), |number| {
        books.cost(client, &contestants[number])
    });
    let figures = |contestant: usize, figure: usize| -> Vec<f64> {
        costs[contestant].iter().map(|cost| cost[figure]).collect()
    };
    let mut each = contestants.iter();
    let row_lock = each.position(|one| one.name == ROW_LOCK).unwrap();
    let rows = contestants.iter().enumerate().map(|(number, contestant)| {
        let cpu = ratios(&figures(number, 0), &figures(row_lock, 0));
        let row = Row::new(contestant.name).spread("backend_cpu_of_row_lock", cpu);
        FIGURES.iter().enumerate().fold(row, |row, (figure, name)| {
            let spread = Spread::of(figures(number, figure));
            row.number(name, spread.median)
        })
    });
    let rows = rows.collect();
    let title =
        format!("What the server does for one acquire and release; {rounds} rounds of {CALLS}");
    let name = "cost";
    report.add(&stage, Section { name, title, rows });
}

/// Counts the messages of one connection.
#[derive(Clone, Default)]
struct Messages(Arc<AtomicU32>);

impl Instrumentation for Messages {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the server says about itself.
struct Books {
    observer: PgConnection,
    session: u32,
    messages: Messages,
    flushes: &'static str,
    written: &'static str,
}

impl Books {
    fn open(stage: &Stage, client: &mut Client) -> Self {
        let session = number(&mut client.conn, "SELECT pg_backend_pid()") as u32;
        let messages = Messages::default();
        client.conn.set_instrumentation(messages.clone());
        let mut observer = stage.database.connect();
        let version = number(
            &mut observer,
            "current_setting('server_version_num')::integer",
        );
        Self {
            observer,
            session,
            messages,
            flushes: if version < 180_000.0 {
                "SELECT wal_sync FROM pg_stat_wal"
            } else {
                "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"
            },
            written: if version < 170_000.0 {
                "SELECT buffers_checkpoint FROM pg_stat_bgwriter"
            } else {
                "SELECT buffers_written FROM pg_stat_checkpointer"
            },
        }
    }

    /// For each of [`FIGURES`].
    fn cost(&mut self, client: &mut Client, contestant: &Contestant) -> [f64; 6] {
        let mut turn = || assert!((contestant.turn)(client, &mut || ()), "refused");
        // The first change of a page after a checkpoint is logged with the whole page. That is not what these calls cost.
        self.observer.batch_execute("CHECKPOINT").unwrap();
        (0..CALLS / 10).for_each(|_| turn());
        let written = number(&mut self.observer, self.written);
        let before = self.read(client);
        let mut turn = || assert!((contestant.turn)(client, &mut || ()), "refused");
        (0..CALLS).for_each(|_| turn());
        let after = self.read(client);
        self.observer.batch_execute("CHECKPOINT").unwrap();
        let written = number(&mut self.observer, self.written) - written;
        let [cpu, messages, xids, wal, flushes] =
            std::array::from_fn(|figure| (after[figure] - before[figure]) / f64::from(CALLS));
        [cpu, messages, xids, wal, flushes, written]
    }

    fn read(&mut self, client: &mut Client) -> [f64; 5] {
        let cpu = session_cpu_time(self.session).as_secs_f64() * 1e6;
        let messages = f64::from(self.messages.0.load(Ordering::Relaxed));
        // A session tells what it has counted once a second at most, unless it is told to.
        client
            .conn
            .batch_execute("SELECT pg_stat_force_next_flush()")
            .unwrap();
        self.messages.0.fetch_sub(1, Ordering::Relaxed);
        let observer = &mut self.observer;
        [
            cpu,
            messages,
            number(
                observer,
                "pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
            ),
            number(observer, "pg_current_wal_insert_lsn() - '0/0'"),
            number(observer, self.flushes),
        ]
    }
}
