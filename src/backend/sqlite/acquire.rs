//! Acquires tickets, and waits for them.

use super::{
    errors::named,
    folder::{Database, Folder, repeat_if_deleted},
    held::{self, Held},
    lock_file::LockFile,
    queue::{self, Position},
    record::{Record, now_us},
    tables::{self, Semaphore},
    waits::Wait,
};
use crate::{
    Result,
    backend::{AcquireOutcome, AcquireParams, hold::HeldFiles},
};
use diesel::SqliteConnection;
use std::time::{Duration, Instant};

/// How long the head of the queue pauses between two searches: this part of the time for which it has been the head, within limits.
const PAUSE_PART: u32 = 40;
const SHORTEST_PAUSE: Duration = Duration::from_micros(300);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

pub(super) fn try_acquire(
    conn: &mut SqliteConnection,
    params: AcquireParams<'_>,
    held: &mut Option<Box<dyn HeldFiles>>,
) -> Result<AcquireOutcome> {
    repeat_if_deleted(|| {
        let database = Database::of(conn)?;
        let mut refusals = 0;
        loop {
            let Some(semaphore) = tables::find(conn, params.semaphore)? else {
                return Ok(AcquireOutcome::UnknownSemaphore);
            };
            let folder = database.clone().folder(semaphore.id);
            if let Some(refused) = refusal(&semaphore, params) {
                return Ok(refused);
            }
            if queue::has_waiter(&folder)? {
                return Ok(AcquireOutcome::Unavailable);
            }
            match search(conn, &folder, &semaphore, params, None, held)? {
                None => {}
                // Meanwhile a holder may have released a ticket that this search had tried before.
                Some(AcquireOutcome::Unavailable) if refusals < max_repeats(&semaphore) => {
                    refusals += 1
                }
                Some(outcome) => return Ok(outcome),
            }
        }
    })
}

/// How often a request that does not wait searches again: up to 9 times, and fewer if the semaphore has more than 100 tickets.
fn max_repeats(semaphore: &Semaphore) -> u32 {
    (1000 / semaphore.slots.count().max(1)).clamp(1, 10) - 1
}

/// Waits in the queue.
pub(super) fn wait(
    conn: &mut SqliteConnection,
    params: AcquireParams<'_>,
    timeout_ms: Option<i64>,
    cancellation: u32,
    held: &mut Option<Box<dyn HeldFiles>>,
) -> Result<AcquireOutcome> {
    let limit = timeout_ms.map(|ms| Duration::from_millis(ms.unsigned_abs()));
    let wait = Wait::begin(cancellation, limit);
    repeat_if_deleted(|| wait_in_queue(conn, params, &wait, held))
}

fn wait_in_queue(
    conn: &mut SqliteConnection,
    params: AcquireParams<'_>,
    wait: &Wait,
    held: &mut Option<Box<dyn HeldFiles>>,
) -> Result<AcquireOutcome> {
    let database = Database::of(conn)?;
    let Some(Semaphore { id, .. }) = tables::find(conn, params.semaphore)? else {
        return Ok(AcquireOutcome::UnknownSemaphore);
    };
    let folder = database.folder(id);
    let record = Record::new(params.tickets.into(), params.label);
    let Some(position) = Position::join(&folder, &record, wait)? else {
        return Ok(AcquireOutcome::Unavailable);
    };
    if !position.wait_until_head(wait)? {
        return Ok(AcquireOutcome::Unavailable);
    }
    let outcome = as_head(&position, wait, || {
        match tables::find(conn, params.semaphore)? {
            None => Ok(Some(AcquireOutcome::UnknownSemaphore)),
            // Created again: the caller joins the queue of the new one.
            Some(other) if other.id != id => Ok(Some(AcquireOutcome::Unavailable)),
            Some(semaphore) => match refusal(&semaphore, params) {
                Some(AcquireOutcome::Unavailable) => Ok(None),
                Some(refused) => Ok(Some(refused)),
                None => search(conn, &folder, &semaphore, params, Some(&position), held).map(
                    |outcome| outcome.filter(|outcome| *outcome != AcquireOutcome::Unavailable),
                ),
            },
        }
    })?;
    Ok(outcome.unwrap_or(AcquireOutcome::Unavailable))
}

/// At least this many times as long as the last search, so that a large semaphore does not keep a processor busy.
const PAUSE_PER_SEARCH: u32 = 5;

/// Repeats `search` as the head of the queue until it returns something. `None` if the time is over.
pub(super) fn as_head<T>(
    position: &Position,
    wait: &Wait,
    mut search: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let began = Instant::now();
    loop {
        let search_began = Instant::now();
        position.check()?;
        if let Some(found) = search()? {
            return Ok(Some(found));
        }
        if wait.is_over() {
            return Ok(None);
        }
        let pause = (began.elapsed() / PAUSE_PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        wait.sleep(pause.max(search_began.elapsed() * PAUSE_PER_SEARCH))?;
    }
}

/// What the size alone decides.
fn refusal(semaphore: &Semaphore, params: AcquireParams<'_>) -> Option<AcquireOutcome> {
    let size = semaphore.slots.count();
    if size == 0 {
        return Some(AcquireOutcome::Unavailable);
    }
    (i64::from(size) < i64::from(params.tickets)).then_some(AcquireOutcome::TooFew { size })
}

/// Tries each ticket once. `None` if the semaphore was changed meanwhile. Only the head of the queue, which has a `position`,
/// can acquire tickets while somebody is in the queue.
fn search(
    conn: &mut SqliteConnection,
    folder: &Folder,
    semaphore: &Semaphore,
    params: AcquireParams<'_>,
    position: Option<&Position>,
    held: &mut Option<Box<dyn HeldFiles>>,
) -> Result<Option<AcquireOutcome>> {
    let requested = usize::try_from(params.tickets).unwrap_or(usize::MAX);
    let mut locked: Vec<(u32, LockFile)> = Vec::new();
    for slot in semaphore.slots.in_random_order(held::released_last()) {
        if let Some(file) = folder.try_ticket(slot)? {
            locked.push((slot, file));
            if locked.len() == requested {
                break;
            }
        }
    }
    if locked.len() < requested {
        return Ok(Some(AcquireOutcome::Unavailable));
    }
    match position {
        Some(position) => position.check()?,
        // A resize in the queue may have chosen these tickets since, and would wait for this holder though others are available.
        None if queue::has_waiter(folder)? => return Ok(Some(AcquireOutcome::Unavailable)),
        None => {}
    }
    // The size could be older than the locks. A resize commits the new size first, and then waits until it has seen each deleted
    // ticket unlocked. So either this reads the new size, or the resize sees these locks.
    match tables::find(conn, params.semaphore)? {
        Some(now) if now.id == semaphore.id => {
            if locked.iter().any(|(slot, _)| !now.slots.contains(*slot)) {
                return Ok(None);
            }
        }
        _ => {
            // Opening a ticket may have created the folder again.
            folder.delete();
            return Ok(None);
        }
    }
    locked.sort_by_key(|(slot, _)| *slot);
    let (slots, files): (Vec<u32>, Vec<LockFile>) = locked.into_iter().unzip();
    let record = write_records(&files, params.label)?;
    let outcome = AcquireOutcome::Acquired {
        token: record.number,
        tickets: slots
            .iter()
            .map(|slot| semaphore.ticket_id(*slot))
            .collect(),
    };
    let database = folder.database().clone();
    *held = Some(Box::new(Held {
        slots,
        files,
        record,
        database,
    }));
    Ok(Some(outcome))
}

/// Writes into the files of acquired tickets who holds them, and the fencing token, which is greater than all before it.
fn write_records(files: &[LockFile], label: Option<&str>) -> Result<Record> {
    let mut token = now_us();
    for file in files {
        if let Some(before) = named(file.path(), Record::read(file.file()))? {
            token = token.max(before.number.saturating_add(1));
        }
    }
    let record = Record::new(token, label);
    for file in files {
        named(file.path(), record.write(file.file()))?;
    }
    Ok(record)
}
