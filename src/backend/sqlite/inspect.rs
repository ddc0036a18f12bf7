//! Lists holders, waiters and usage, as the lock files have them.

use super::{
    errors::named,
    folder::{Database, Folder},
    lock_file::is_locked,
    queue,
    record::Record,
    tables::{self, Semaphore},
};
use crate::{Holder, Result, Session, Usage, Waiter};
use diesel::SqliteConnection;
use std::{
    fs::{self, File},
    io::{self, ErrorKind::NotFound},
    path::Path,
};

pub(super) fn holders(conn: &mut SqliteConnection, name: &str) -> Result<Option<Vec<Holder>>> {
    let Some((semaphore, folder)) = find(conn, name)? else {
        return Ok(None);
    };
    let held = held_tickets(&semaphore, &folder)?;
    let holder = |(slot, record): (u32, Option<Record>)| Holder {
        ticket: semaphore.ticket_id(slot),
        held_for: record.as_ref().and_then(Record::age),
        session: session(record),
        transaction_for: None,
        prepared_transaction: None,
    };
    Ok(Some(held.into_iter().map(holder).collect()))
}

pub(super) fn waiters(conn: &mut SqliteConnection, name: &str) -> Result<Option<Vec<Waiter>>> {
    let Some((_, folder)) = find(conn, name)? else {
        return Ok(None);
    };
    let mut waiters = Vec::new();
    for (position, file) in (1..).zip(queue::waiters(&folder, usize::MAX)?) {
        let record = Record::read(&file).ok().flatten();
        waiters.push(Waiter {
            position,
            tickets: record
                .as_ref()
                .and_then(|record| u32::try_from(record.number).ok()),
            waited: record.as_ref().and_then(Record::age),
            session: session(record),
        });
    }
    Ok(Some(waiters))
}

/// Of all semaphores, or of the one with this name.
pub(super) fn usage(conn: &mut SqliteConnection, name: Option<&str>) -> Result<Vec<Usage>> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => tables::sizes(conn)?
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
    };
    let mut usage = Vec::new();
    for name in names {
        // Destroyed meanwhile, or unknown, if `None`.
        if let Some((semaphore, folder)) = find(conn, &name)? {
            usage.push(Usage {
                name,
                size: semaphore.slots.count(),
                in_use: count(held_tickets(&semaphore, &folder)?.len()),
                waiting: count(queue::waiters(&folder, usize::MAX)?.len()),
            });
        }
    }
    Ok(usage)
}

fn find(conn: &mut SqliteConnection, name: &str) -> Result<Option<(Semaphore, Folder)>> {
    let Some(semaphore) = tables::find(conn, name)? else {
        return Ok(None);
    };
    let folder = Database::of(conn)?.folder(semaphore.id);
    Ok(Some((semaphore, folder)))
}

/// The held tickets, by their slots. Only files whose record says that they are held are tried, so that no available ticket is
/// locked for an instant. If its holder was killed, the record is wrong, and others may be refused for this instant.
fn held_tickets(semaphore: &Semaphore, folder: &Folder) -> Result<Vec<(u32, Option<Record>)>> {
    let path = folder.path();
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == NotFound => return Ok(Vec::new()),
        entries => named(path, entries)?,
    };
    let mut held = Vec::new();
    for entry in entries {
        let name = named(path, entry)?.file_name();
        let slot = name
            .to_str()
            .and_then(|name| name.strip_prefix('t')?.parse().ok());
        let Some(slot) = slot.filter(|slot| semaphore.slots.contains(*slot)) else {
            continue;
        };
        let path = folder.ticket(slot);
        if let Some(record) = named(&path, holder(&path))? {
            held.push((slot, record));
        }
    }
    held.sort_by_key(|(slot, _)| *slot);
    Ok(held)
}

/// `None` if nobody holds the ticket. On Windows, nobody else can read a locked file.
fn holder(path: &Path) -> io::Result<Option<Option<Record>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == NotFound => return Ok(None),
        file => file?,
    };
    let record = match Record::read(&file) {
        Ok(Some(record)) if record.in_use => Some(record),
        Ok(_) => return Ok(None),
        Err(_) => None,
    };
    Ok(is_locked(&file)?.then_some(record))
}

fn session(record: Option<Record>) -> Session {
    let Some(record) = record else {
        return Session::default();
    };
    Session {
        pid: i32::try_from(record.pid).ok(),
        label: record.label,
        ..Session::default()
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
