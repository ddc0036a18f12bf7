//! Measures how long it takes until the next waiter has a released ticket, and what a long queue costs.
//!
//! One ticket, one who waits: from when `release` is called, so that its round trip is in it, to the return of the waiter's
//! acquire; and the same from `kill -9` of the holder's process. Beside it the least that PostgreSQL can do, one session
//! that is blocked by the row lock of another. Then the server's CPU while 200 wait and nothing happens.
//!
//! The head of the queue is ready and has nothing else to do, and two processors are idle: under load, the system's
//! scheduling comes on top.

use crate::{
    kit::{
        Conn, ROW_LOCK, Report, Row, Section, Spread, Stage, interleave, ratios, this_program,
        waiting,
    },
    options::Options,
};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::percentile;
use std::{
    io::{BufRead, BufReader},
    process::{Child, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const WAIT: Request<'_> = Request::new("x").wait_forever();

/// Takes the one thing, waits for it if need be, does the work and gives it back.
#[derive(Clone, Copy)]
enum Way {
    Ours,
    RowLock,
}

impl Way {
    fn take(self, conn: &mut Conn, work: impl FnOnce()) {
        match self {
            Self::Ours => {
                let guard = SemaphoreTicket::require(&mut *conn, WAIT).unwrap();
                work();
                guard.release().unwrap();
            }
            Self::RowLock => {
                conn.batch_execute("BEGIN").unwrap();
                conn.batch_execute(ROW_LOCK).unwrap();
                work();
                conn.batch_execute("ROLLBACK").unwrap();
            }
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::RowLock => "row lock",
        }
    }
}

/// Returns once so many sessions sleep until they get a lock.
fn until_they_wait(conn: &mut Conn, waiters: u32) {
    while waiting(conn) < f64::from(waiters) {
        thread::yield_now();
    }
}

/// The time from the moment that `let_go` returns until a waiter has it; that many times.
fn hand_offs<H>(
    stage: &Stage,
    way: Way,
    times: usize,
    mut hold: impl FnMut() -> H,
    let_go: impl Fn(H) -> Instant,
) -> Vec<Duration> {
    let (go, goes) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut conn = stage.database.connect();
            for () in goes {
                way.take(&mut conn, || tell.send(Instant::now()).unwrap());
            }
        });
        let mut observer = stage.database.connect();
        let mut hand_offs: Vec<Duration> = (0..=times)
            .map(|_| {
                let holder = hold();
                go.send(()).unwrap();
                until_they_wait(&mut observer, 1);
                let gone = let_go(holder);
                told.recv().unwrap().saturating_duration_since(gone)
            })
            .collect();
        drop(go);
        // In the first one, sessions meet everything for the first time.
        hand_offs.remove(0);
        hand_offs
    })
}

/// The holder is a thread that sleeps until it is told to let go.
fn after_release(stage: &Stage, way: Way, times: usize) -> Vec<Duration> {
    let (hold, holds) = mpsc::channel::<(mpsc::Sender<()>, mpsc::Receiver<()>)>();
    let (gone, when_gone) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut conn = stage.database.connect();
            for (held, let_go) in holds {
                way.take(&mut conn, || {
                    held.send(()).unwrap();
                    let_go.recv().unwrap();
                    gone.send(Instant::now()).unwrap();
                });
            }
        });
        let start = || {
            let ((held, is_held), (let_go, told)) = (mpsc::channel(), mpsc::channel());
            hold.send((held, told)).unwrap();
            is_held.recv().unwrap();
            let_go
        };
        let done = hand_offs(stage, way, times, start, |let_go| {
            let_go.send(()).unwrap();
            when_gone.recv().unwrap()
        });
        drop(hold);
        done
    })
}

fn after_kill(stage: &Stage, way: Way, times: usize) -> Vec<Duration> {
    let hold = || {
        let mut child = this_program()
            .args(["holder", &stage.database.url(), way.word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut String::new())
            .unwrap();
        child
    };
    hand_offs(stage, way, times, hold, |mut child: Child| {
        child.kill().unwrap();
        let gone = Instant::now();
        child.wait().unwrap();
        gone
    })
}

/// The process that `after_kill` kills.
pub(crate) fn be_a_holder(words: &[String]) -> ExitCode {
    let [url, way] = words else {
        eprintln!("not for use by hand");
        return ExitCode::FAILURE;
    };
    let mut ways = [Way::Ours, Way::RowLock].into_iter();
    let way = ways.find(|known| known.word() == way).unwrap();
    way.take(&mut Conn::establish(url).unwrap(), || {
        println!("held");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    });
    ExitCode::SUCCESS
}

/// The share of one core that the server uses.
fn cost_of_a_long_queue(stage: &Stage, waiters: u32, time: Duration) -> f64 {
    let holder = SemaphoreTicket::require(stage.database.connect(), "x").unwrap();
    thread::scope(|scope| {
        for _ in 0..waiters {
            let wait = || SemaphoreTicket::require(stage.database.connect(), WAIT).unwrap();
            scope.spawn(move || drop(wait()));
        }
        // Kept until the end, so that no session ends meanwhile, whose time would be missing then.
        let mut observer = stage.database.connect();
        until_they_wait(&mut observer, waiters);
        let before = stage.server.cpu_time();
        thread::sleep(time);
        let used = stage.server.cpu_time().saturating_sub(before);
        drop(holder);
        used.as_secs_f64() / time.as_secs_f64()
    })
}

pub(crate) fn run(options: &Options, report: &mut Report) {
    let stage = Stage::new();
    sem::make(&mut stage.database.connect(), "x", 1).unwrap();
    type Hand = fn(&Stage, Way, usize) -> Vec<Duration>;
    let kills = (options.hand_offs / 10).max(1);
    let contests: [(&str, Hand, usize); 2] = [
        ("after release", after_release, options.hand_offs),
        ("after kill -9", after_kill, kills),
    ];
    let mut rows = Vec::new();
    for (what, hand_offs, times) in contests {
        let ways = [Way::Ours, Way::RowLock];
        let done = interleave(options.rounds, ways.len(), |number| {
            let mut times = hand_offs(&stage, ways[number], times);
            [0.5, 0.99].map(|share| percentile(&mut times, share).as_secs_f64() * 1e3)
        });
        let figures = |way: usize, figure: usize| -> Vec<f64> {
            done[way].iter().map(|figures| figures[figure]).collect()
        };
        rows.extend((0..ways.len()).map(|way| {
            let spread = |figure| Spread::of(figures(way, figure));
            Row::new(what)
                .text("of", ways[way].word())
                .spread("p50_of_row_lock", ratios(&figures(way, 0), &figures(1, 0)))
                .spread("p50_ms", spread(0))
                .spread("p99_ms", spread(1))
                .number("each_round", times as f64)
        }));
    }
    let title = format!("From hand to hand, one waiter; {} rounds", options.rounds);
    let name = "hand_off";
    report.add(&stage, Section { name, title, rows });

    let time = options.time * 2;
    let cost = cost_of_a_long_queue(&stage, 200, time) * 100.0;
    let rows = vec![Row::new("200 wait").number("server_cpu", cost)];
    let title = format!(
        "The server's CPU while 200 wait for {} s, in per cent of a core",
        time.as_secs()
    );
    let name = "long_queue";
    report.add(&stage, Section { name, title, rows });
}
