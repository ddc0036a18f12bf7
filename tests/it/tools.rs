//! What several topics need. Nothing here uses the crate where a test wants to know what the crate did.

use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl,
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
    r2d2::{ConnectionManager, Pool},
    result::QueryResult,
    sql_types::BigInt,
};
use diesel_dbsemaphore as sem;
use stand::Database;
use std::num::NonZeroU32;

pub(crate) use stand::eventually;

pub(crate) type PgPool = Pool<ConnectionManager<PgConnection>>;

/// A database with the tables and one semaphore, "x".
pub(crate) fn database_with(tickets: u32) -> Database {
    let database = Database::create();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", tickets).unwrap();
    database
}

pub(crate) fn pool(database: &Database, size: u32) -> PgPool {
    Pool::builder()
        .max_size(size)
        .build(ConnectionManager::new(database.url()))
        .unwrap()
}

/// How many transactions are open, savepoints included. An error if the connection is marked as broken. The tests use this
/// hidden item of Diesel only here.
pub(crate) fn transaction_depth(conn: &mut PgConnection) -> QueryResult<Option<NonZeroU32>> {
    AnsiTransactionManager::transaction_manager_status_mut(conn).transaction_depth()
}

/// The one number that a query returns.
pub(crate) fn number(conn: &mut PgConnection, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let row: Row = diesel::sql_query(format!("SELECT ({query})::bigint AS number"))
        .get_result(conn)
        .unwrap();
    row.number
}

/// How many tickets of "x" nobody holds, by locking them for a moment. Not by the crate.
pub(crate) fn free(database: &Database) -> i64 {
    let mut conn = database.connect();
    conn.test_transaction::<_, diesel::result::Error, _>(|conn| {
        Ok(number(
            conn,
            "WITH free AS (SELECT FROM dbsemaphore.ticket t WHERE semaphore_id = \
                 (SELECT id FROM dbsemaphore.semaphore WHERE name = 'x') FOR UPDATE SKIP LOCKED) \
             SELECT count(*) FROM free",
        ))
    })
}

/// Waits until a session sleeps on a lock of this type, as `pg_locks` names it.
pub(crate) fn until_waiting_for(database: &Database, locktype: &str) {
    let mut conn = database.connect();
    eventually("somebody waits", || {
        number(
            &mut conn,
            &format!(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
                 WHERE NOT granted AND locktype = '{locktype}' AND datname = current_database()"
            ),
        ) > 0
    });
}

/// Waits until so many are in queues of this database, heads included.
pub(crate) fn until_in_line(database: &Database, waiters: i64) {
    until_advisory(database, "dbsq", waiters);
}

/// Waits until a head has looked and found too few.
pub(crate) fn until_barred(database: &Database) {
    until_advisory(database, "dbso", 1);
}

fn until_advisory(database: &Database, class: &str, locks: i64) {
    let mut conn = database.connect();
    eventually("so many hold or want the lock", || {
        advisory(&mut conn, class) == locks
    });
}

/// How many hold or want an advisory lock of this class: "dbsq" for the queue head lock, "dbso" for the no-overtaking lock.
pub(crate) fn advisory(conn: &mut PgConnection, class: &str) -> i64 {
    let class = class
        .bytes()
        .fold(0, |class, byte| class << 8 | u32::from(byte));
    let query = format!(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
         WHERE d.datname = current_database() AND locktype = 'advisory' AND classid = {class}"
    );
    number(conn, &query)
}

pub(crate) fn backend_pid(conn: &mut PgConnection) -> i64 {
    number(conn, "SELECT pg_backend_pid()")
}

pub(crate) fn terminate(database: &Database, pid: i64) {
    let mut conn = database.connect();
    conn.batch_execute(&format!("SELECT pg_terminate_backend({pid})"))
        .unwrap();
    eventually("the session is gone", || {
        number(
            &mut conn,
            &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"),
        ) == 0
    });
}

/// Checks that no lock of a queue is left in the server.
pub(crate) fn assert_line_is_gone(database: &Database) {
    let mut conn = database.connect();
    let locks = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
        WHERE d.datname = current_database() AND locktype = 'advisory' \
          AND classid IN (x'64627371'::int, x'6462736f'::int, x'64627377'::int, x'64627363'::int)";
    eventually("nobody is in the queue", || number(&mut conn, locks) == 0);
}

/// How often a test of chances repeats itself: `DBSEMAPHORE_TEST_ROUNDS`, or as often as a run of the suite can afford.
pub(crate) fn rounds(affordable: usize) -> usize {
    std::env::var("DBSEMAPHORE_TEST_ROUNDS").map_or(affordable, |rounds| {
        rounds.parse().expect("DBSEMAPHORE_TEST_ROUNDS is a number")
    })
}

pub(crate) fn in_transaction<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> sem::Result<T>,
) -> T {
    conn.transaction(work).unwrap()
}
