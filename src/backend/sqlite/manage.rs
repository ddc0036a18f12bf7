//! Creates, resizes, destroys and lists semaphores.

use super::{
    acquire::as_head,
    busy::in_write_transaction,
    errors::unsupported,
    folder::{Database, Folder, repeat_if_deleted},
    lock_file::LockFile,
    queue::Position,
    record::Record,
    slots::Slots,
    tables::{self, Semaphore},
    waits::Wait,
};
use crate::{
    Result,
    backend::{
        SizeChange,
        transaction::{is_open, would_be_closed_by_pool},
    },
};
use diesel::SqliteConnection;
use std::{thread, time::Duration};

/// Between two looks at a deleted ticket that somebody still holds.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) fn ensure(conn: &mut SqliteConnection, name: &str, size: i32) -> Result<bool> {
    if tables::find(conn, name)?.is_some() {
        return Ok(false);
    }
    let slots = Slots::default().grown_to(size.unsigned_abs());
    in_write_transaction(conn, |conn| match tables::insert(conn, name)? {
        Some(id) => tables::replace_slots(conn, id, &slots).map(|()| true),
        None => Ok(false),
    })
}

pub(super) fn make(
    conn: &mut SqliteConnection,
    name: &str,
    size: i32,
) -> Result<Option<SizeChange>> {
    check_transaction(conn)?;
    repeat_if_deleted(|| {
        loop {
            if ensure(conn, name, size)? {
                return Ok(Some(SizeChange::Created));
            }
            // Destroyed meanwhile, if `None`.
            if let Some(resizing) = Resizing::begin(conn, name)? {
                return resizing.resize(conn, size.unsigned_abs());
            }
        }
    })
}

pub(super) fn destroy(conn: &mut SqliteConnection, name: &str) -> Result<bool> {
    check_transaction(conn)?;
    repeat_if_deleted(|| match Resizing::begin(conn, name)? {
        Some(resizing) => resizing.destroy(conn).map(|()| true),
        None => Ok(false),
    })
}

pub(super) fn list(conn: &mut SqliteConnection) -> Result<Vec<(String, i64)>> {
    tables::sizes(conn)
}

/// Others must not acquire a deleted ticket before the commit, and nothing says when a transaction of the caller commits.
fn check_transaction(conn: &mut SqliteConnection) -> Result<()> {
    if is_open(conn)? && would_be_closed_by_pool(conn) {
        return Err(unsupported(
            "on SQLite, make and destroy do not run inside a transaction: call them before it, or on another connection",
        ));
    }
    Ok(())
}

/// A semaphore that nobody else can resize or destroy.
struct Resizing {
    semaphore: Semaphore,
    folder: Folder,
    _lock: LockFile,
}

impl Resizing {
    /// Waits for others that resize it. `None` if there is no such semaphore.
    fn begin(conn: &mut SqliteConnection, name: &str) -> Result<Option<Self>> {
        let database = Database::of(conn)?;
        while let Some(semaphore) = tables::find(conn, name)? {
            let folder = database.clone().folder(semaphore.id);
            let lock = folder.lock(folder.path().join("resize"))?;
            match tables::find(conn, name)? {
                Some(now) if now.id == semaphore.id => {
                    return Ok(Some(Self {
                        semaphore: now,
                        folder,
                        _lock: lock,
                    }));
                }
                // Opening the lock may have created the folder again.
                _ => folder.delete(),
            }
        }
        Ok(None)
    }

    fn resize(&self, conn: &mut SqliteConnection, size: u32) -> Result<Option<SizeChange>> {
        let Semaphore { id, slots } = &self.semaphore;
        if size == slots.count() {
            return Ok(None);
        }
        // Dropped at the end.
        let (_place, removed) = self.wait_for(slots.count().saturating_sub(size))?;
        let slots = slots.without(&removed).grown_to(size);
        in_write_transaction(conn, |conn| tables::replace_slots(conn, *id, &slots))?;
        self.until_released(&removed)?;
        Ok(Some(SizeChange::Resized))
    }

    fn destroy(&self, conn: &mut SqliteConnection) -> Result<()> {
        let Semaphore { id, slots } = &self.semaphore;
        let (_place, removed) = self.wait_for(slots.count())?;
        in_write_transaction(conn, |conn| tables::delete(conn, *id))?;
        self.until_released(&removed)?;
        self.folder.delete();
        Ok(())
    }

    /// Waits in the queue until that many tickets are available. Returns those with the highest slots. They stay available as
    /// long as the position exists: only the head of the queue can acquire tickets. So they need not be locked, which would take an
    /// open file for each.
    fn wait_for(&self, count: u32) -> Result<(Option<Position>, Vec<u32>)> {
        if count == 0 {
            return Ok((None, Vec::new()));
        }
        let wait = Wait::forever();
        let Some(position) = Position::join(&self.folder, &Record::new(count.into(), None), &wait)?
        else {
            return self.wait_for(count);
        };
        position.wait_until_head(&wait)?;
        let (mut held, mut available) = (self.semaphore.slots.descending(), Vec::new());
        as_head(&position, &wait, || {
            let mut still_held = Vec::new();
            for slot in std::mem::take(&mut held) {
                if available.len() < count as usize && self.folder.is_available(slot)? {
                    available.push(slot);
                } else {
                    still_held.push(slot);
                }
            }
            held = still_held;
            Ok((available.len() == count as usize).then_some(()))
        })?;
        position.check()?;
        Ok((Some(position), available))
    }

    /// Waits, after the commit, until nobody holds the deleted tickets. Nobody can acquire them any more: each request reads the
    /// size after it has locked its tickets. The position in the queue kept others away, unless the folder was deleted, and the
    /// position with it.
    fn until_released(&self, removed: &[u32]) -> Result<()> {
        for slot in removed {
            while !self.folder.is_available(*slot)? {
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}
