//! Tickets that are checked in the background.

use crate::kit::{
    ServerDatabase, TestDatabase, eventually, on_each_backend, on_each_server, process::Process,
    rounds,
};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{
    self as sem, Error, Request, SemaphoreTicket, TicketConnection, WATCH_GRACE, WatchedTicket,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{panic::AssertUnwindSafe, sync::mpsc, thread, time::Duration};

on_each_backend!(
    a_watched_ticket_is_held_and_released,
    nothing_is_reported_after_a_release,
    its_threads_have_ended_when_release_returns,
    a_thousand_watched_and_unwatched_guards_leave_a_healthy_pool,
);

on_each_server!(
    a_loss_is_reported_in_each_way,
    release_reports_a_loss_within_the_first_interval,
    with_ticket_reports_the_loss_of_a_watched_ticket,
    the_shortest_interval_is_ten_milliseconds,
);

const OFTEN: Duration = Duration::from_millis(20);

const RARELY: Duration = Duration::from_secs(3600);

const LONG: Duration = Duration::from_secs(60);

fn watched<D: TestDatabase>(database: &D, interval: Duration) -> WatchedTicket<D::Connection> {
    let guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    guard.watch(interval)
}

/// And the id of its session.
fn watched_session<D: ServerDatabase>(
    database: &D,
    interval: Duration,
) -> (WatchedTicket<D::Connection>, i64) {
    let mut conn = database.connect();
    let session = D::session_id(&mut conn);
    let guard = SemaphoreTicket::require(conn, "x").unwrap();
    (guard.watch(interval), session)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn a_watched_ticket_is_held_and_released<D: TestDatabase>() {
    let database = D::with_size(1);
    for interval in [OFTEN, RARELY, Duration::MAX, Duration::ZERO] {
        let ticket = watched(&database, interval);
        assert!(!ticket.wait_lost(Duration::from_millis(50)));
        assert!(!ticket.is_lost());
        assert_eq!(database.available(), 0);
        let mut conn = ticket.release().unwrap();
        assert_eq!(database.available(), 1);
        conn.begin_test_transaction().unwrap();

        let ticket = watched(&database, interval);
        drop(ticket);
        assert_eq!(database.available(), 1);
    }
}

fn a_loss_is_reported_in_each_way<D: ServerDatabase>() {
    let database = D::with_size(1);
    let (ticket, session) = watched_session(&database, OFTEN);
    let (tell, told) = mpsc::channel();
    let again = tell.clone();
    ticket.on_lost(move || tell.send("on the watch's thread").unwrap());
    ticket.on_lost(|| panic!("on purpose"));
    database.kill_session(session);
    assert!(ticket.wait_lost(LONG));
    assert!(ticket.is_lost());
    assert_eq!(told.recv_timeout(LONG).unwrap(), "on the watch's thread");
    ticket.on_lost(move || again.send("at once").unwrap());
    assert_eq!(told.try_recv().unwrap(), "at once");
    assert!(matches!(ticket.release(), Err(Error::TicketLost { .. })));
}

fn nothing_is_reported_after_a_release<D: TestDatabase>() {
    let database = D::with_size(1);
    let ticket = watched(&database, OFTEN);
    let (tell, told) = mpsc::channel::<()>();
    ticket.on_lost(move || tell.send(()).unwrap());
    ticket.release().unwrap();
    assert_eq!(told.recv(), Err(mpsc::RecvError), "dropped, not called");
}

fn release_reports_a_loss_within_the_first_interval<D: ServerDatabase>() {
    let database = D::with_size(1);
    let (ticket, session) = watched_session(&database, RARELY);
    assert!(!ticket.wait_lost(Duration::from_millis(50)));
    database.kill_session(session);
    assert!(!ticket.is_lost(), "nobody has asked yet");
    assert!(matches!(ticket.release(), Err(Error::TicketLost { .. })));
}

/// As with Ctrl-Z and `fg`. While it is stopped, nothing is done that could be done by two.
#[cfg(feature = "postgres")]
#[test]
fn a_stopped_process_keeps_its_ticket_on_postgres() {
    a_stopped_process_keeps_its_ticket::<stand::postgres::Database>();
}

/// A watched guard has a `wait_timeout`, so that the server releases the ticket of a host that has vanished.
#[cfg(feature = "mysql")]
#[test]
fn a_stopped_process_loses_its_ticket_on_mysql() {
    let database = stand::mysql::Database::with_size(1);
    let mut process = Process::start("watch while stopped", &database);
    assert_eq!(process.says(), "held");
    let pid = Pid::from_raw(process.pid().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    eventually("the server has released the ticket", || {
        database.available() == 1
    });
    kill(pid, Signal::SIGCONT).unwrap();
    for _ in 0..2 {
        process.tell("look");
        assert_eq!(process.says(), "lost: true");
    }
    process.finish();
}

#[cfg(feature = "postgres")]
fn a_stopped_process_keeps_its_ticket<D: ServerDatabase>() {
    let database = D::with_size(1);
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
    database.kill_session(holder.session.pid.unwrap().into());
    kill(pid, Signal::SIGCONT).unwrap();
    process.tell("look");
    assert_eq!(process.says(), "lost: true");
    process.finish();
}

fn its_threads_have_ended_when_release_returns<D: TestDatabase>() {
    let database = D::with_size(1);
    // In a process of its own, whose threads nobody else starts.
    let mut process = Process::start("watch", &database);
    assert_eq!(process.says(), "0 more threads");
    process.finish();
}

/// The body of that process.
pub(crate) fn count_threads<C: TicketConnection + Send + 'static>(conn: C) -> String {
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

fn a_thousand_watched_and_unwatched_guards_leave_a_healthy_pool<D: TestDatabase>() {
    let database = D::with_size(4);
    let pool = database.pool(4);
    thread::scope(|scope| {
        for number in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..rounds(100) {
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
    eventually("all tickets are released", || database.available() == 4);
    let mut all: Vec<_> = (0..4).map(|_| pool.get().unwrap()).collect();
    for conn in &mut all {
        conn.batch_execute("SELECT 1").unwrap();
    }
}

fn with_ticket_reports_the_loss_of_a_watched_ticket<D: ServerDatabase>() {
    let database = D::with_size(1);
    let pool = database.pool(2);
    let request = Request::new("x").watch(Duration::from_millis(20));
    let (tell, told) = mpsc::channel();
    let lost = sem::with_ticket(&pool, request, |ticket| -> sem::Result<()> {
        assert!(!ticket.is_lost());
        ticket.on_lost(move || tell.send("lost").unwrap());
        ticket.check()?;
        let holder = &sem::holders(&mut database.connect(), "x")?[0];
        database.kill_session(holder.session.pid.unwrap().into());
        assert_eq!(told.recv_timeout(LONG).unwrap(), "lost");
        assert!(ticket.is_lost());
        assert!(matches!(ticket.check(), Err(Error::TicketLost { .. })));
        Ok(())
    });
    assert!(matches!(lost, Err(Error::TicketLost { .. })), "{lost:?}");
    sem::with_ticket::<_, _, Error>(&pool, request, |_| Ok(())).unwrap();
}

fn the_shortest_interval_is_ten_milliseconds<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let (tell, told) = mpsc::channel();
    conn.set_instrumentation(move |_: diesel::connection::InstrumentationEvent<'_>| {
        let _ = tell.send(());
    });
    let guard = SemaphoreTicket::require(conn, "x").unwrap();
    told.try_iter().for_each(drop);
    let began = std::time::Instant::now();
    let ticket = guard.watch(Duration::ZERO);
    // A check takes two statements at most, each with four events at most.
    for _ in 0..160 {
        told.recv_timeout(LONG).unwrap();
    }
    assert!(began.elapsed() >= 19 * Duration::from_millis(10));
    ticket.release().unwrap();
}
