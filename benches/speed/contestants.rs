//! Ways to hold something for a moment. Each acquires it, does the work and releases it, or reports that none is available.

use crate::kit::{Client, Conn};
use diesel::{
    connection::{AnsiTransactionManager, TransactionManager},
    prelude::*,
    sql_types::Integer,
};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};

diesel::table! {
    /// A row for each client.
    floor (id) { id -> Integer, }
}

diesel::table! {
    /// A semaphore as people write it by hand.
    slots (id) { id -> Integer, semaphore -> Text, }
}

pub(crate) type Turn = fn(&mut Client, &mut dyn FnMut()) -> bool;

#[derive(Clone, Copy)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// What it is compared with: the barest row lock of the same kind.
    pub(crate) floor: &'static str,
    pub(crate) turn: Turn,
}

pub(crate) const fn contestant(name: &'static str, floor: &'static str, turn: Turn) -> Contestant {
    Contestant { name, floor, turn }
}

pub(crate) const ROUND_TRIPS: &str = "BEGIN; SELECT 1; ROLLBACK";
pub(crate) const ROW_LOCK: &str = "row lock";
const COMMITTED: &str = "row lock, committed";
const POOLED: &str = "row lock, from a pool";

pub(crate) const FLOORS: [Contestant; 4] = [
    contestant(ROUND_TRIPS, ROW_LOCK, round_trips),
    contestant(ROW_LOCK, ROW_LOCK, row_lock),
    contestant(COMMITTED, COMMITTED, row_lock_committed),
    contestant(POOLED, POOLED, row_lock_pooled),
];

pub(crate) const CHECK_OUT: Contestant = contestant("check-out of the pool", POOLED, check_out);
pub(crate) const GUARD: Contestant = contestant("guard", ROW_LOCK, guard);
pub(crate) const WAITING: Contestant = contestant("guard that may wait", ROW_LOCK, waiting);
pub(crate) const LOW_LEVEL: Contestant =
    contestant("own transaction, rolled back", ROW_LOCK, low_level);

pub(crate) const LOW_LEVEL_COMMITTED: Contestant =
    contestant("own transaction, committed", COMMITTED, low_level_committed);

/// The library's.
pub(crate) const OURS: [Contestant; 6] = [
    GUARD,
    WAITING,
    contestant("guard, 3 tickets", ROW_LOCK, three),
    contestant("with_ticket, from a pool", POOLED, pooled),
    LOW_LEVEL,
    LOW_LEVEL_COMMITTED,
];

pub(crate) const SKIP_LOCKED: Contestant =
    contestant("SKIP LOCKED by hand, rolled back", ROW_LOCK, skip_locked);
pub(crate) const SKIP_LOCKED_COMMITTED: Contestant = contestant(
    "SKIP LOCKED by hand, committed",
    COMMITTED,
    skip_locked_committed,
);
pub(crate) fn begin(conn: &mut Conn) {
    AnsiTransactionManager::begin_transaction(conn).unwrap();
}

pub(crate) fn rollback(conn: &mut Conn) {
    AnsiTransactionManager::rollback_transaction(conn).unwrap();
}

fn commit(conn: &mut Conn) {
    AnsiTransactionManager::commit_transaction(conn).unwrap();
}

fn round_trips(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    begin(&mut client.conn);
    let one: i32 = diesel::select(1.into_sql::<Integer>())
        .get_result(&mut client.conn)
        .unwrap();
    work();
    rollback(&mut client.conn);
    one == 1
}

/// Nobody else wants that row.
fn lock_row(conn: &mut Conn, number: i32) -> bool {
    let row: Option<i32> = floor::table
        .find(number)
        .select(floor::id)
        .for_update()
        .skip_locked()
        .get_result(conn)
        .optional()
        .unwrap();
    row.is_some()
}

fn row_lock(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    begin(&mut client.conn);
    let locked = lock_row(&mut client.conn, client.number);
    work();
    rollback(&mut client.conn);
    locked
}

fn row_lock_committed(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    begin(&mut client.conn);
    let locked = lock_row(&mut client.conn, client.number);
    work();
    commit(&mut client.conn);
    locked
}

fn row_lock_pooled(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    let mut conn = client.pool.as_ref().unwrap().get().unwrap();
    begin(&mut conn);
    let locked = lock_row(&mut conn, client.number);
    work();
    rollback(&mut conn);
    locked
}

fn check_out(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    let _conn = client.pool.as_ref().unwrap().get().unwrap();
    work();
    true
}

fn hold(client: &mut Client, request: Request<'_>, work: &mut dyn FnMut()) -> bool {
    let Some(guard) = SemaphoreTicket::acquire(&mut client.conn, request).unwrap() else {
        return false;
    };
    work();
    guard.release().unwrap();
    true
}

fn guard(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    hold(client, Request::new(client.semaphore), work)
}

fn waiting(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    hold(client, Request::new(client.semaphore).wait_forever(), work)
}

fn three(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    hold(client, Request::new(client.semaphore).tickets(3), work)
}

fn pooled(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    let pool = client.pool.as_ref().unwrap();
    let done: sem::Result<()> = sem::with_ticket(pool, client.semaphore, |_ticket| {
        work();
        Ok(())
    });
    !matches!(done, Err(sem::Error::Unavailable { .. })) && done.map(|()| true).unwrap()
}

fn low_level(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    begin(&mut client.conn);
    let ticket = sem::acquire(&mut client.conn, client.semaphore).unwrap();
    ticket.is_some().then(work);
    rollback(&mut client.conn);
    ticket.is_some()
}

fn low_level_committed(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    begin(&mut client.conn);
    let ticket = sem::acquire(&mut client.conn, client.semaphore).unwrap();
    ticket.is_some().then(work);
    commit(&mut client.conn);
    ticket.is_some()
}

fn lock_slot(conn: &mut Conn, semaphore: &str) -> bool {
    let slot: Option<i32> = slots::table
        .filter(slots::semaphore.eq(semaphore))
        .order(slots::id)
        .limit(1)
        .select(slots::id)
        .for_update()
        .skip_locked()
        .get_result(conn)
        .optional()
        .unwrap();
    slot.is_some()
}

/// Rolled back, which people seldom do, but it is the best that this can be.
fn skip_locked(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    begin(&mut client.conn);
    let locked = lock_slot(&mut client.conn, client.semaphore);
    locked.then(work);
    rollback(&mut client.conn);
    locked
}

fn skip_locked_committed(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    begin(&mut client.conn);
    let locked = lock_slot(&mut client.conn, client.semaphore);
    locked.then(work);
    commit(&mut client.conn);
    locked
}
