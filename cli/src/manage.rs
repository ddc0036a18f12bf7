//! The commands that do one thing and print what they did.

use crate::{
    database::{Connection, Database},
    fault::Fault,
    view::{self, Shown, print, table},
};
#[cfg(feature = "postgres")]
use diesel::{RunQueryDsl, sql_query};
use diesel_dbsemaphore::{self as sem, Usage};
#[cfg(feature = "postgres")]
use diesel_dbsemaphore::{BackendConnection, TicketConnection};
use serde_json::json;
use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long PostgreSQL has to end a statement by its own limit, which comes first.
#[cfg(feature = "postgres")]
const ANSWERING: Duration = Duration::from_secs(1);

pub(crate) fn migrate(database: &Database, json: bool) -> Result<(), Fault> {
    sem::run_migrations(&mut database.connect_or_create()?)?;
    print(json, &json!({ "migrated": true }), || {
        "the tables are up to date".to_owned()
    })
}

pub(crate) fn make(
    database: &Database,
    name: &str,
    tickets: u32,
    wait: Option<Duration>,
    existing: bool,
    json: bool,
) -> Result<(), Fault> {
    let mut conn = database.connect()?;
    if existing {
        sem::usage_of(&mut conn, name)?;
    }
    match wait {
        None => drop(sem::make(&mut conn, name, tickets)?),
        Some(limit) => make_within(limit, conn, name, tickets)?,
    }
    print(json, &json!({ "name": name, "size": tickets }), || {
        format!("semaphore {name:?}: size set to {tickets}")
    })
}

/// Leaves a wait that takes too long to the end of this process, which is soon. There it ends on MySQL and SQLite, but not on
/// PostgreSQL, whose server processes don't notice that in a wait.
fn make_within(
    limit: Duration,
    mut conn: Connection,
    name: &str,
    tickets: u32,
) -> Result<(), Fault> {
    #[allow(unused_mut)]
    let mut answering = Duration::ZERO;
    #[cfg(feature = "postgres")]
    if let BackendConnection::Postgres(conn) = conn.backend() {
        // 0 is no limit.
        let ms = limit.as_millis().clamp(1, i32::MAX as u128);
        sql_query(format!("SET statement_timeout = {ms}")).execute(conn)?;
        answering = ANSWERING;
    }
    let began = Instant::now();
    let (made, result) = mpsc::channel();
    let owned = name.to_owned();
    thread::Builder::new()
        .name("resizing".to_owned())
        .spawn(move || drop(made.send(sem::make(&mut conn, &owned, tickets))))
        .map_err(Fault::thread)?;
    match result.recv_timeout(limit.saturating_add(answering)) {
        Ok(Err(error)) if began.elapsed() < limit => Err(error.into()),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Fault::new(format_args!(
            "semaphore {name:?}: too few tickets were released within {}, so the old size remains: resize later, or end holders \
             with `dbsemaphore terminate`",
            humantime::format_duration(limit)
        ))),
    }
}

pub(crate) fn destroy(database: &Database, name: &str, json: bool) -> Result<(), Fault> {
    if !sem::destroy(&mut database.connect()?, name)? {
        return Err(Fault::unknown(name));
    }
    print(json, &json!({ "name": name, "destroyed": true }), || {
        format!("semaphore {name:?} is gone")
    })
}

pub(crate) fn list(database: &Database, json: bool) -> Result<(), Fault> {
    let all = usages(&mut database.connect()?)?;
    print(json, &all, || {
        table(view::columns(
            view::USAGE,
            all.iter().map(view::usage_row),
            &[],
        ))
    })
}

pub(crate) fn show(database: &Database, name: &str, json: bool) -> Result<(), Fault> {
    let shown = look_at(&mut database.connect()?, name)?;
    print(json, &shown, || {
        let usage = &shown.usage;
        let unknown = database.unknown_columns();
        let mut text = format!(
            "{name:?}: {} of {} tickets in use, {} waiting",
            usage.in_use, usage.size, usage.waiting
        );
        if !shown.holders.is_empty() {
            let holders = shown.holders.iter().map(view::holder_row);
            let holders = table(view::columns(view::HOLDERS, holders, unknown));
            text.push_str(&format!("\n\n{holders}"));
        }
        if !shown.waiters.is_empty() {
            let waiters = shown.waiters.iter().map(view::waiter_row);
            let waiters = table(view::columns(view::WAITERS, waiters, unknown));
            text.push_str(&format!("\n\n{waiters}"));
        }
        text
    })
}

fn usages(conn: &mut Connection) -> Result<Vec<Usage>, Fault> {
    Ok(sem::usage(conn)?)
}

/// Queries holders and waiters, and counts them: numbers of a further query could differ, because holders change
/// meanwhile.
fn look_at(conn: &mut Connection, name: &str) -> Result<Shown, Fault> {
    let (holders, waiters) = (sem::holders(conn, name)?, sem::waiters(conn, name)?);
    let mut usage = sem::usage_of(conn, name)?;
    usage.in_use = u32::try_from(holders.len()).unwrap_or(u32::MAX);
    usage.waiting = u32::try_from(waiters.len()).unwrap_or(u32::MAX);
    Ok(Shown {
        usage,
        holders,
        waiters,
    })
}
