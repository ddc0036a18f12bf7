//! What is logged, under which names.

use crate::kit::{ServerDatabase, TestDatabase, on_each_backend, on_each_server};
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use log::{
    Level, LevelFilter, Log, Metadata, Record,
    kv::{self, Key, Value, VisitSource},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Once, mpsc},
    time::Duration,
};

on_each_backend!(
    acquisitions_and_releases_are_logged_at_debug,
    changes_of_size_are_logged,
);

on_each_server!(
    waits_are_logged,
    a_loss_is_logged_once,
    a_loss_is_known_while_a_slow_logger_writes_it,
);

const MOMENT: Duration = Duration::from_millis(1);

const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
struct Event {
    name: String,
    level: Level,
    keys: BTreeMap<String, String>,
}

/// Of all tests, which run at once and share the one logger that there can be.
static EVENTS: Mutex<Vec<Event>> = Mutex::new(Vec::new());

/// What the logger does when it hears that a ticket of this semaphore was lost.
static HOOKS: Mutex<BTreeMap<String, Box<dyn FnOnce() + Send>>> = Mutex::new(BTreeMap::new());

struct Collector;

impl Log for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("diesel_dbsemaphore::")
    }

    fn log(&self, record: &Record<'_>) {
        struct Keys(BTreeMap<String, String>);

        impl<'kvs> VisitSource<'kvs> for Keys {
            fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
                self.0.insert(key.to_string(), value.to_string());
                Ok(())
            }
        }

        let mut keys = Keys(BTreeMap::new());
        record.key_values().visit(&mut keys).unwrap();
        let name = record.target().trim_start_matches("diesel_dbsemaphore::");
        let hook = (name == "lost").then(|| HOOKS.lock().unwrap().remove(&keys.0["semaphore"]));
        EVENTS.lock().unwrap().push(Event {
            name: name.to_owned(),
            level: record.level(),
            keys: keys.0,
        });
        if let Some(hook) = hook.flatten() {
            hook();
        }
    }

    fn flush(&self) {}
}

/// Collects from now on. Returns a database and the name of a semaphore in it, which no other test has.
fn listen<D: TestDatabase>(name: &str, size: u32) -> (D, String) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Collector).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
    let database = D::with_size(0);
    let name = format!("{name} {}", D::NOWHERE);
    sem::make(&mut database.connect(), &name, size).unwrap();
    (database, name)
}

/// The events of this semaphore since this was last asked.
fn take(semaphore: &str) -> Vec<Event> {
    let is_of = |event: &Event| {
        event
            .keys
            .get("semaphore")
            .is_some_and(|name| name == semaphore)
    };
    let mut events = EVENTS.lock().unwrap();
    let (taken, left) = events.drain(..).partition(is_of);
    *events = left;
    taken
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

fn acquisitions_and_releases_are_logged_at_debug<D: TestDatabase>() {
    let (database, quiet) = &listen::<D>("quiet", 2);
    take(quiet);
    let request = Request::new(quiet).tickets(2).label("Ada");
    let guard = SemaphoreTicket::require(database.connect(), request).unwrap();
    let refused = SemaphoreTicket::acquire(database.connect(), quiet).unwrap();
    assert!(refused.is_none());
    let ticket = guard.ticket().clone();
    guard.release().unwrap();

    let events = take(quiet);
    assert_eq!(names(&events), ["acquired", "refused", "released"]);
    assert!(events.iter().all(|event| event.level == Level::Debug));
    let [acquired, _, released] = &events[..] else {
        unreachable!()
    };
    let ids = format!("{},{}", ticket.ids()[0], ticket.ids()[1]);
    for event in [acquired, released] {
        assert_eq!(event.keys["tickets"], ids);
        assert_eq!(
            event.keys["fencing_token"],
            ticket.fencing_token().to_string()
        );
    }
    assert_eq!(acquired.keys["label"], "Ada");
    assert!(released.keys["held_ms"].parse::<u64>().unwrap() < 60_000);
}

fn waits_are_logged<D: ServerDatabase>() {
    let (database, line) = &listen::<D>("line", 1);
    take(line);
    let mut conn = database.connect();
    let guard = SemaphoreTicket::require(database.connect(), line).unwrap();
    take(line);
    let request = Request::new(line).wait(MOMENT);
    assert!(
        SemaphoreTicket::acquire(&mut conn, request)
            .unwrap()
            .is_none()
    );
    conn.transaction(|c| sem::acquire(c, request)).unwrap();
    let events = take(line);
    assert_eq!(names(&events), ["timed_out"; 2]);
    assert!(events.iter().all(|event| event.level == Level::Info));
    assert!(events.iter().all(|event| event.keys["waited_ms"] != "0"));

    drop(guard);
    take(line);
    conn.transaction(|c| sem::require(c, Request::new(line).wait(LONG)))
        .unwrap();
    assert_eq!(names(&take(line)), ["waited", "acquired"]);
}

fn a_loss_is_logged_once<D: ServerDatabase>() {
    let (database, lost) = &listen::<D>("lost", 1);
    for end in ["check", "release", "drop", "watch"] {
        let mut conn = database.connect();
        let pid = D::session_id(&mut conn);
        let mut guard = SemaphoreTicket::require(conn, lost).unwrap();
        take(lost);
        database.kill_session(pid);
        match end {
            "check" => {
                assert!(guard.check().is_err());
                assert!(guard.check().is_err());
                drop(guard);
            }
            "release" => assert!(guard.release().is_err()),
            "drop" => drop(guard),
            _ => {
                let watched = guard.watch(LONG);
                assert!(watched.wait_lost(LONG));
                assert!(watched.release().is_err());
            }
        }
        let events = take(lost);
        assert_eq!(names(&events), ["lost"], "{end}");
        assert_eq!(events[0].level, Level::Warn);
        assert!(!events[0].keys["reason"].is_empty());
    }
}

fn a_loss_is_known_while_a_slow_logger_writes_it<D: ServerDatabase>() {
    let (database, slow) = &listen::<D>("slow", 1);
    let mut conn = database.connect();
    let pid = D::session_id(&mut conn);
    let guard = SemaphoreTicket::require(conn, slow).unwrap();
    let watched = Arc::new(guard.watch(MOMENT));
    let ((tell, told), (let_go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let hook = {
        let (watched, tell) = (Arc::clone(&watched), tell.clone());
        move || {
            tell.send(("the logger asks", watched.is_lost())).unwrap();
            wait.recv_timeout(LONG).unwrap();
        }
    };
    HOOKS.lock().unwrap().insert(slow.clone(), Box::new(hook));
    watched.on_lost(move || tell.send(("on_lost", true)).unwrap());
    database.kill_session(pid);
    let mut heard = [told.recv_timeout(LONG), told.recv_timeout(LONG)].map(Result::unwrap);
    heard.sort_unstable();
    assert_eq!(heard, [("on_lost", true), ("the logger asks", true)]);
    assert!(watched.is_lost());
    assert!(watched.wait_lost(LONG));
    let_go.send(()).unwrap();
}

fn changes_of_size_are_logged<D: TestDatabase>() {
    let (database, sizes) = &listen::<D>("sizes", 1);
    let conn = &mut database.connect();
    sem::make(conn, sizes, 1).unwrap();
    sem::ensure(conn, sizes, 2).unwrap();
    sem::make(conn, sizes, 2).unwrap();
    sem::destroy(conn, sizes).unwrap();
    sem::destroy(conn, sizes).unwrap();
    let events = take(sizes);
    assert_eq!(names(&events), ["created", "resized", "destroyed"]);
    assert_eq!(events[1].keys["size"], "2");
    assert!(events.iter().all(|event| event.level == Level::Info));
}
