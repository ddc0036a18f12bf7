//! Finds available tickets.
//!
//! InnoDB locks each row that a statement reads. A range of slots would lock neighbours for an instant, and others would be refused
//! falsely. So each statement here looks up single rows by their whole key: the optimizer has no other way, because the join order
//! and the index are fixed.

use super::fragment::{ALL_ROWS, json, statement};
use crate::{backend::random_order::random_order, cancel};
use diesel::{
    MysqlConnection,
    prelude::*,
    sql_types::{BigInt, Double, Integer, Text},
};

/// The most slots that one statement looks at.
const MAX_CHUNK: usize = 4096;

/// How often a request for one ticket looks at each slot before it is refused: holders may change while it looks.
const ROUNDS: usize = 3;

/// A semaphore, as a request sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Semaphore {
    pub(super) id: i64,
    pub(super) size: i32,
    pub(super) slot_bound: i32,
}

statement! {
    /// Locks available tickets in these slots, after a pause in seconds.
    Lock { pause: f64 => Double, slots: &'a str => Text, semaphore_id: i64 => BigInt, needed: i64 => BigInt } -> (BigInt, Integer),
    "SELECT t.id, t.slot \
     FROM (SELECT SLEEP(?) AS slept LIMIT 1) AS p \
     STRAIGHT_JOIN JSON_TABLE(?, '$[*]' COLUMNS (slot int PATH '$')) AS c \
     STRAIGHT_JOIN dbsemaphore_ticket AS t FORCE INDEX (PRIMARY) \
         ON t.semaphore_id = ? AND t.slot = c.slot \
     LIMIT ? FOR UPDATE /*!80000 OF t */ SKIP LOCKED"
}

statement! {
    Slots { semaphore_id: i64 => BigInt } -> Integer,
    format!("SELECT t.slot FROM dbsemaphore_ticket AS t WHERE t.semaphore_id = ? {ALL_ROWS}")
}

/// The slots that have tickets, in their order. A look-up of a slot without one would lock a gap under REPEATABLE READ.
pub(super) fn slots(conn: &mut MysqlConnection, semaphore: Semaphore) -> QueryResult<Vec<i32>> {
    if semaphore.size == semaphore.slot_bound {
        return Ok((0..semaphore.slot_bound).collect());
    }
    let mut slots: Vec<i32> = Slots::new(semaphore.id).load(conn)?;
    slots.sort_unstable();
    Ok(slots)
}

/// A semaphore has at most as many tickets as a u32 can count.
fn in_random_order(slots: &[i32]) -> Vec<i32> {
    random_order(slots.len() as u32)
        .filter_map(|n| slots.get(n as usize).copied())
        .collect()
}

/// A ticket and its slot.
pub(super) type Locked = (i64, i32);

pub(super) fn lock(
    conn: &mut MysqlConnection,
    semaphore_id: i64,
    slots: &[i32],
    needed: usize,
    pause: f64,
) -> QueryResult<Vec<Locked>> {
    let needed = i64::try_from(needed).unwrap_or(i64::MAX);
    Lock::new(pause, &json(slots), semaphore_id, needed).load(conn)
}

/// Looks at all tickets in random order, until `needed` are locked. Returns fewer if fewer are available.
pub(super) fn search(
    conn: &mut MysqlConnection,
    semaphore: Semaphore,
    needed: usize,
) -> QueryResult<Vec<i64>> {
    let mut slots = in_random_order(&slots(conn, semaphore)?);
    let mut locked_ids = Vec::new();
    // A transaction does not skip its own locks. So it looks twice only if it has none from this search.
    let rounds = if needed == 1 { ROUNDS } else { 1 };
    if slots.len() * rounds <= MAX_CHUNK {
        slots = slots.repeat(rounds);
    }
    let mut chunk = 64;
    let mut rest = slots.as_slice();
    while !rest.is_empty() && locked_ids.len() < needed {
        let now;
        (now, rest) = rest.split_at(rest.len().min(chunk));
        let locked = lock(conn, semaphore.id, now, needed - locked_ids.len(), 0.0)?;
        locked_ids.extend(locked.into_iter().map(|(id, _)| id));
        chunk = (chunk * 8).min(MAX_CHUNK);
    }
    Ok(locked_ids)
}

/// The slots of a semaphore, as its head of the queue looks at them again and again: a chunk at a time.
pub(super) struct Rounds {
    slots: Vec<i32>,
    next: usize,
}

impl Rounds {
    pub(super) fn new(mut slots: Vec<i32>, highest_slot_first: bool) -> Self {
        if highest_slot_first {
            slots.reverse();
        } else {
            slots = in_random_order(&slots);
        }
        Self { slots, next: 0 }
    }

    pub(super) fn slots(&self) -> &[i32] {
        &self.slots
    }

    pub(super) fn next_chunk(&mut self) -> &[i32] {
        let from = self.next;
        let to = (from + MAX_CHUNK).min(self.slots.len());
        self.next = if to == self.slots.len() { 0 } else { to };
        &self.slots[from..to]
    }

    /// Whether each slot was looked at since the last time that this was true.
    pub(super) fn is_complete(&self) -> bool {
        self.next == 0
    }

    pub(super) fn remove(&mut self, locked: &[Locked]) {
        self.slots
            .retain(|slot| !locked.iter().any(|(_, locked)| locked == slot));
        if self.next >= self.slots.len() {
            self.next = 0;
        }
    }
}

/// Random numbers (splitmix64): each request searches elsewhere.
pub(super) struct RandomNumbers(u64);

impl RandomNumbers {
    pub(super) fn new() -> Self {
        Self(u64::from(cancel::random_id()) << 32 | u64::from(cancel::random_id()))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}
