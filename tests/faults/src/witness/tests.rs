//! The witness on a real server, whose sessions queue for the queue head lock as `_wait_in_queue` does.

use super::*;
use crate::postgres::{LOOK, Postgres, rearranged};
use diesel::{PgConnection, RunQueryDsl, connection::SimpleConnection};
use diesel_dbsemaphore as sem;
use stand::{Database, Server, eventually};
use std::thread::{Scope, ScopedJoinHandle};

/// Held by a test until the session that it names may leave the head of the queue.
const GATE: i64 = 7;
const IDLE: Duration = Duration::from_secs(2);

struct Looking {
    conn: PgConnection,
    sight: Sight,
    memory: Memory,
    at: Time,
}

impl Looking {
    fn at(database: &Database) -> Self {
        Self {
            conn: database.connect(),
            sight: Sight::default(),
            memory: Memory::new::<Postgres>(Some(IDLE)),
            at: now(),
        }
    }

    fn look(&mut self) {
        let rows: Vec<Row> = diesel::sql_query(LOOK).load(&mut self.conn).unwrap();
        self.sight
            .take_in(&mut self.memory, &rows, self.at, self.at);
    }

    /// What `pg_stat_activity` shows stays as it is now until [`Self::go_on`].
    fn read_sessions_early(&mut self) {
        self.conn
            .batch_execute("BEGIN; SELECT count(*) FROM pg_stat_activity")
            .unwrap();
    }

    fn go_on(&mut self) {
        self.conn.batch_execute("COMMIT").unwrap();
    }
}

fn migrated(database: Database) -> Database {
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
    database
}

fn number(conn: &mut PgConnection, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Number {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    diesel::sql_query(format!("SELECT ({query})::bigint AS number"))
        .get_result::<Number>(conn)
        .unwrap()
        .number
}

/// A session that queues for the queue head lock, after it has done something `first`, in the same call.
struct Queuer<'scope> {
    pid: i64,
    /// Holds the gate.
    gate: PgConnection,
    _thread: ScopedJoinHandle<'scope, ()>,
}

impl<'scope> Queuer<'scope> {
    fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        database: &Database,
        mut conn: PgConnection,
        first: &str,
        at_the_head: &str,
    ) -> Self {
        let pid = number(&mut conn, "pg_backend_pid()");
        let mut gate = database.connect();
        gate.batch_execute(&format!("SELECT pg_advisory_lock({GATE}, {pid})"))
            .unwrap();
        let call = format!(
            "{first}; SELECT pg_advisory_lock(dbsemaphore._advisory_key('q', 1)); {at_the_head}; \
             SELECT pg_advisory_lock({GATE}, {pid}); SELECT pg_advisory_unlock_all()"
        );
        let thread = scope.spawn(move || conn.batch_execute(&call).unwrap());
        Self {
            pid,
            gate,
            _thread: thread,
        }
    }

    /// Until it waits, or is at the head.
    fn until_in_queue(&mut self) {
        self.until("(granted OR waitstart IS NOT NULL) AND classid = x'64627371'::integer");
    }

    fn until_head(&mut self) {
        self.until("granted AND classid = x'64627371'::integer");
    }

    fn until(&mut self, locks: &str) {
        let query = format!(
            "SELECT count(*) FROM pg_locks WHERE pid = {} AND {locks}",
            self.pid
        );
        eventually(locks, || number(&mut self.gate, &query) > 0);
    }

    fn leave(mut self) {
        self.gate
            .batch_execute("SELECT pg_advisory_unlock_all()")
            .unwrap();
    }
}

/// A look reads `first` in `pg_locks` only: `pg_stat_activity` was read before that session called, or before it connected.
/// `second` called earlier, and joined the queue later.
fn look_while_first_joins(first_is_connected: bool) {
    let database = migrated(Database::create());
    let mut looking = Looking::at(&database);
    let wants = "SELECT pg_advisory_lock_shared(dbsemaphore._advisory_key('w', 2))";
    let connected = first_is_connected.then(|| database.connect());
    thread::scope(|scope| {
        let mut head = Queuer::start(scope, &database, database.connect(), "", "");
        head.until_in_queue();
        let mut other = database.connect();
        other
            .batch_execute("SELECT pg_advisory_lock(dbsemaphore._advisory_key('w', 2))")
            .unwrap();
        let mut second = Queuer::start(scope, &database, database.connect(), wants, "");
        second.until("NOT granted AND classid = x'64627377'::integer");
        looking.read_sessions_early();
        let first = connected.unwrap_or_else(|| database.connect());
        let mut first = Queuer::start(scope, &database, first, "", "");
        first.until_in_queue();
        drop(other);
        second.until_in_queue();
        looking.look();
        looking.go_on();
        looking.look();
        head.leave();
        first.until_head();
        looking.look();
        looking.look();
        first.leave();
        second.leave();
    });
    assert_eq!(looking.sight.violations, Vec::<String>::new());
}

#[test]
fn a_session_that_calls_during_a_query_has_not_overtaken() {
    look_while_first_joins(true);
}

#[test]
fn a_session_that_connects_during_a_look_has_not_overtaken() {
    look_while_first_joins(false);
}

/// PostgreSQL rearranges the queue itself, to resolve a deadlock: see "Limits" in docs/guide/waiting.md.
#[test]
fn a_queue_that_postgresql_rearranges_is_found() {
    let server = Server::start_with(&["fsync=off", "log_lock_waits=on"]);
    let database = migrated(server.create_database());
    let mut looking = Looking::at(&database);
    let mut other = database.connect();
    other.batch_execute("CREATE TABLE app ()").unwrap();
    let long_timeout = "SET deadlock_timeout = '20s'";
    let (first, second) = thread::scope(|scope| {
        // The head comes to the table when the cycle is to be closed.
        let mut key = database.connect();
        key.batch_execute("SELECT pg_advisory_lock(8)").unwrap();
        let then_reads = "SELECT pg_advisory_lock(8); SELECT FROM app";
        let mut head = Queuer::start(
            scope,
            &database,
            database.connect(),
            long_timeout,
            then_reads,
        );
        head.until_in_queue();
        // The first of those who wait to look for a deadlock, though it isn't part of it.
        let looks = "SET deadlock_timeout = '5s'";
        let mut first = Queuer::start(scope, &database, database.connect(), looks, "");
        first.until_in_queue();
        looking.look();
        let has_read = format!("{long_timeout}; SELECT FROM app");
        let mut second = Queuer::start(scope, &database, database.connect(), &has_read, "");
        second.until_in_queue();
        let alter = scope.spawn(|| {
            let mut conn = database.connect();
            conn.batch_execute(&format!(
                "{long_timeout}; LOCK TABLE app IN ACCESS EXCLUSIVE MODE"
            ))
        });
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'";
        eventually("the table is waited for", || number(&mut other, waits) > 0);
        key.batch_execute("SELECT pg_advisory_unlock_all()")
            .unwrap();
        head.leave();
        let pids = (first.pid, second.pid);
        second.until_head();
        looking.look();
        looking.look();
        second.leave();
        first.leave();
        alter.join().unwrap().unwrap();
        pids
    });
    let overtaking = format!("backend {second} overtook {first} in the queue of 1");
    assert_eq!(looking.sight.violations, [overtaking]);
    assert_eq!(rearranged(&server.log()).len(), 1);
}
