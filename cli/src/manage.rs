//! The commands that do one thing and print what they did.

mod within;

use crate::{
    database::{Connection, Database},
    fault::Fault,
    view::{self, Shown, print, table},
};
use diesel_dbsemaphore::{self as sem, Usage};
use serde_json::json;
use std::time::Duration;

pub(crate) fn migrate(database: &Database, json: bool) -> Result<(), Fault> {
    let mut conn = database.connect_or_create()?;
    let created = matches!(sem::list(&mut conn), Err(sem::Error::NotMigrated));
    sem::run_migrations(&mut conn)?;
    print(
        json,
        &json!({ "migrated": true, "created": created }),
        || match created {
            true => "the tables were created".to_owned(),
            false => "the tables are up to date".to_owned(),
        },
    )
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
    let exists = sem::list(&mut conn)?.contains_key(name);
    if existing && !exists {
        return Err(Fault::unknown(name));
    }
    match wait {
        None => drop(sem::make(&mut conn, name, tickets)?),
        Some(limit) => within::make(database, conn, name, tickets, limit)?,
    }
    let made = json!({ "name": name, "size": tickets, "created": !exists });
    print(json, &made, || match exists {
        true => format!("semaphore {name:?}: size set to {tickets}"),
        false => format!(
            "semaphore {name:?}: created with {}",
            view::tickets(tickets)
        ),
    })
}

pub(crate) fn destroy(database: &Database, name: &str, json: bool) -> Result<(), Fault> {
    if !sem::destroy(&mut database.connect()?, name)? {
        return Err(Fault::unknown(name));
    }
    print(json, &json!({ "name": name, "destroyed": true }), || {
        format!("semaphore {name:?}: deleted")
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
            "{name:?}: {} of {} in use, {} waiting",
            usage.in_use,
            view::tickets(usage.size),
            usage.waiting
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
