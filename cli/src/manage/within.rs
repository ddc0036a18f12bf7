//! Resizes within a limit.

use crate::{
    database::{Connection, Database},
    fault::Fault,
};
use diesel::connection::SimpleConnection;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use diesel::result::Error as DieselError;
use diesel_dbsemaphore::{self as sem, BackendConnection, TicketConnection};
use std::{
    mem,
    sync::{
        Arc, OnceLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

/// The shortest limit: without a wait, too, the statements take time.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long PostgreSQL has after the limit to end the wait by its own limit.
const ENDING: Duration = Duration::from_secs(1);

/// Leaves a wait that takes too long to the end of this process, which is soon, after the new size can't be committed any more.
/// Server processes of PostgreSQL don't notice that end in a wait, so the server has the same limit.
pub(super) fn make(
    database: &Database,
    mut conn: Connection,
    name: &str,
    tickets: u32,
    limit: Duration,
) -> Result<(), Fault> {
    let limit = limit.max(SHORTEST);
    let (is_postgres, is_sqlite) = match conn.backend() {
        #[cfg(feature = "postgres")]
        BackendConnection::Postgres(_) => (true, false),
        #[cfg(feature = "sqlite")]
        BackendConnection::Sqlite(_) => (false, true),
        _ => (false, false),
    };
    // Whether the new size is committed. The first of two threads decides.
    let decision = Arc::new(OnceLock::new());
    let (made, answer) = mpsc::channel();
    let (owned, deciding) = (name.to_owned(), Arc::clone(&decision));
    let work = move || {
        let may_commit = || deciding.set(true).is_ok();
        drop(made.send(make_if(&mut conn, &owned, tickets, limit, may_commit)));
    };
    thread::Builder::new()
        .name("resizing".to_owned())
        .spawn(work)
        .map_err(Fault::thread)?;
    match answer.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => {}
        answer => return Ok(answer.map_err(Fault::new)??),
    }
    if decision.set(false).is_err() {
        return Ok(answer.recv().map_err(Fault::new)??);
    }
    if is_sqlite && is_made(database, name, tickets)? {
        return Ok(());
    }
    if is_postgres {
        let _ = answer.recv_timeout(ENDING);
    }
    Err(Fault::new(format_args!(
        "semaphore {name:?}: too few tickets were released within {}, so the old size remains: resize later, or end holders with \
         `dbsemaphore terminate`",
        humantime::format_duration(limit)
    )))
}

/// Resizes, and commits if it may. On SQLite, it always may: see [`is_made`].
#[cfg_attr(
    not(feature = "postgres"),
    expect(unused_variables, reason = "of PostgreSQL, or of servers")
)]
fn make_if(
    conn: &mut Connection,
    name: &str,
    tickets: u32,
    limit: Duration,
    may_commit: impl FnOnce() -> bool,
) -> sem::Result<()> {
    match conn.backend() {
        #[cfg(feature = "postgres")]
        BackendConnection::Postgres(conn) => {
            // 0 is no limit.
            let ms = limit.as_millis().clamp(1, i32::MAX as u128);
            in_transaction(conn, may_commit, |conn| {
                conn.batch_execute(&format!("SET LOCAL statement_timeout = {ms}"))?;
                sem::make(conn, name, tickets)
            })
        }
        #[cfg(feature = "mysql")]
        BackendConnection::Mysql(conn) => {
            conn.batch_execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
            in_transaction(conn, may_commit, |conn| sem::make(conn, name, tickets))
        }
        _ => sem::make(conn, name, tickets),
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
fn in_transaction<C: diesel::Connection>(
    conn: &mut C,
    may_commit: impl FnOnce() -> bool,
    work: impl FnOnce(&mut C) -> sem::Result<()>,
) -> sem::Result<()> {
    conn.transaction(|conn| {
        work(conn)?;
        if may_commit() {
            Ok(())
        } else {
            Err(DieselError::RollbackTransaction.into())
        }
    })
}

/// For SQLite, where a resize has no transaction around it. Keeps everybody from writing until this process ends, and returns
/// whether the new size has been committed before.
fn is_made(database: &Database, name: &str, tickets: u32) -> Result<bool, Fault> {
    let mut conn = database.connect()?;
    #[cfg(feature = "sqlite")]
    if let BackendConnection::Sqlite(conn) = conn.backend() {
        conn.batch_execute("PRAGMA busy_timeout = 1000; BEGIN IMMEDIATE")
            .map_err(|error| {
                Fault::new(format_args!(
                    "semaphore {name:?}: it is not known whether the size has changed: {error}"
                ))
            })?;
    }
    let size = sem::list(&mut conn)?.get(name).copied();
    mem::forget(conn);
    Ok(size == Some(tickets))
}
