//! Tickets that are checked in the background.

use crate::{
    children::Process,
    tools::{backend_pid, database_with, free, number, pool, terminate},
};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{
    self as sem, Error, Request, SemaphoreTicket, WATCH_GRACE, WatchedTicket,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stand::{Database, Server, eventually};
use std::{
    panic::AssertUnwindSafe,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const OFTEN: Duration = Duration::from_millis(20);
const RARELY: Duration = Duration::from_secs(3600);
const LONG: Duration = Duration::from_secs(60);

fn watched(database: &Database, interval: Duration) -> (WatchedTicket<PgConnection>, i64) {
    let mut conn = database.connect();
    let pid = backend_pid(&mut conn);
    let guard = SemaphoreTicket::require(conn, "x").unwrap();
    (guard.watch(interval), pid)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_watched_ticket_is_held_and_released() {
    let database = database_with(1);
    for interval in [OFTEN, RARELY, Duration::MAX, Duration::ZERO] {
        let (ticket, _) = watched(&database, interval);
        assert!(!ticket.wait_lost(Duration::from_millis(50)));
        assert!(!ticket.is_lost());
        assert_eq!(free(&database), 0);
        let mut conn = ticket.release().unwrap();
        assert_eq!(free(&database), 1);
        conn.begin_test_transaction().unwrap();

        let (ticket, _) = watched(&database, interval);
        drop(ticket);
        assert_eq!(free(&database), 1);
    }
}

#[test]
fn a_loss_is_reported_in_each_way() {
    let database = database_with(1);
    let (ticket, pid) = watched(&database, OFTEN);
    let (tell, told) = mpsc::channel();
    let again = tell.clone();
    ticket.on_lost(move || tell.send("on the watch's thread").unwrap());
    ticket.on_lost(|| panic!("on purpose"));
    terminate(&database, pid);
    assert!(ticket.wait_lost(LONG));
    assert!(ticket.is_lost());
    assert_eq!(told.recv_timeout(LONG).unwrap(), "on the watch's thread");
    ticket.on_lost(move || again.send("at once").unwrap());
    assert_eq!(told.try_recv().unwrap(), "at once");
    assert!(matches!(ticket.release(), Err(Error::TicketLost { .. })));
}

#[test]
fn nothing_is_reported_after_a_release() {
    let database = database_with(1);
    let (ticket, _) = watched(&database, OFTEN);
    let (tell, told) = mpsc::channel::<()>();
    ticket.on_lost(move || tell.send(()).unwrap());
    ticket.release().unwrap();
    assert_eq!(told.recv(), Err(mpsc::RecvError), "dropped, not called");
}

#[test]
fn release_reports_a_loss_within_the_first_interval() {
    let database = database_with(1);
    let (ticket, pid) = watched(&database, RARELY);
    assert!(!ticket.wait_lost(Duration::from_millis(50)));
    terminate(&database, pid);
    assert!(!ticket.is_lost(), "nobody has asked yet");
    assert!(matches!(ticket.release(), Err(Error::TicketLost { .. })));
}

/// The server process is stopped, so the check never returns.
#[test]
fn no_answer_is_a_loss_after_the_documented_time() {
    let server = Server::start();
    let database = server.create_database();
    diesel_dbsemaphore::run_migrations(&mut database.connect()).unwrap();
    diesel_dbsemaphore::make(&mut database.connect(), "x", 1).unwrap();
    let pool = pool(&database, 1);
    let mut conn = pool.get().unwrap();
    let pid = backend_pid(&mut conn);
    let backend = Pid::from_raw(pid.try_into().unwrap());
    let ticket = SemaphoreTicket::require(conn, "x").unwrap().watch(OFTEN);
    let (tell, told) = mpsc::channel();
    ticket.on_lost(move || tell.send(Instant::now()).unwrap());
    assert!(!ticket.wait_lost(Duration::from_millis(100)));
    kill(backend, Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    assert!(ticket.wait_lost(LONG));
    assert!(ticket.is_lost());
    let called = told.recv_timeout(LONG).unwrap() - stopped;
    assert!(called >= WATCH_GRACE - Duration::from_secs(1), "{called:?}");
    // The bound is ten times what is promised.
    assert!(called < (OFTEN + WATCH_GRACE) * 10, "{called:?}");

    let before = Instant::now();
    assert!(matches!(ticket.release(), Err(Error::TicketLost { .. })));
    assert!(before.elapsed() < LONG, "it doesn't wait for an answer");
    kill(backend, Signal::SIGCONT).unwrap();
    crate::tools::eventually("the connection has been closed", || {
        number(
            &mut database.connect(),
            &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"),
        ) == 0
    });
    let mut next = pool.get().unwrap();
    assert_ne!(
        backend_pid(&mut next),
        pid,
        "the pool never reuses the connection"
    );
    drop(SemaphoreTicket::require(next, "x").unwrap());
}

/// As with Ctrl-Z and `fg`. While it is stopped, nothing is done that could be done by two.
#[test]
fn a_stopped_process_keeps_its_ticket() {
    let database = database_with(1);
    let mut process = Process::start("watch while stopped", &database);
    assert_eq!(process.says(), "held");
    let pid = Pid::from_raw(process.pid().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    thread::sleep(WATCH_GRACE + Duration::from_secs(2));
    kill(pid, Signal::SIGCONT).unwrap();
    process.tell("look");
    assert_eq!(process.says(), "lost: false");
    // And one that has, is told.
    kill(pid, Signal::SIGSTOP).unwrap();
    let holder = diesel_dbsemaphore::holders(&mut database.connect(), "x").unwrap()[0].clone();
    terminate(&database, holder.session.pid.unwrap().into());
    kill(pid, Signal::SIGCONT).unwrap();
    process.tell("look");
    assert_eq!(process.says(), "lost: true");
    process.finish();
}

#[test]
fn its_threads_have_ended_when_release_returns() {
    let database = database_with(1);
    // In a process of its own, whose threads nobody else starts.
    let mut process = Process::start("watch", &database);
    assert_eq!(process.says(), "0 more threads");
    process.finish();
}

/// The body of that process.
pub(crate) fn count_threads(conn: PgConnection) -> String {
    let before = threads();
    let mut conn = Some(conn);
    for _ in 0..50 {
        let ticket = SemaphoreTicket::require(conn.take().unwrap(), "x")
            .unwrap()
            .watch(OFTEN);
        assert_eq!(threads(), before + 2);
        conn = Some(ticket.release().unwrap());
    }
    format!("{} more threads", threads() - before)
}

#[test]
fn a_thousand_watched_and_unwatched_guards_leave_a_healthy_pool() {
    let database = database_with(4);
    let pool = pool(&database, 4);
    thread::scope(|scope| {
        for number in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..crate::tools::rounds(100) {
                    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
                        let guard = SemaphoreTicket::require(pool.get().unwrap(), "x").unwrap();
                        let _watched = match round % 2 {
                            0 => (Some(guard.watch(OFTEN)), None),
                            _ => (None, Some(guard)),
                        };
                        if (round * 7 + number) % 3 == 0 {
                            std::panic::resume_unwind(Box::new("on purpose"));
                        }
                    }));
                    assert_eq!(panicked.is_err(), (round * 7 + number) % 3 == 0);
                }
            });
        }
    });
    crate::tools::eventually("all tickets are released", || free(&database) == 4);
    let mut all: Vec<_> = (0..4).map(|_| pool.get().unwrap()).collect();
    for conn in &mut all {
        conn.batch_execute("SELECT 1").unwrap();
    }
}

#[test]
fn with_ticket_reports_the_loss_of_a_watched_ticket() {
    let database = database_with(1);
    let pool = pool(&database, 2);
    let request = Request::new("x").watch(Duration::from_millis(20));
    let lost = sem::with_ticket(&pool, request, |ticket| -> sem::Result<()> {
        assert!(!ticket.is_lost());
        ticket.check()?;
        let holder = &sem::holders(&mut database.connect(), "x")?[0];
        terminate(&database, holder.session.pid.unwrap().into());
        eventually("the loss is reported", || ticket.is_lost());
        assert!(matches!(ticket.check(), Err(Error::TicketLost { .. })));
        Ok(())
    });
    assert!(matches!(lost, Err(Error::TicketLost { .. })), "{lost:?}");
    sem::with_ticket::<_, _, Error>(&pool, request, |_| Ok(())).unwrap();
}
