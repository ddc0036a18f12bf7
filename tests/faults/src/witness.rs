//! Looks at the server, about a hundred times a second, without the library: who waits in the queue, and which tickets are held.

use crate::{
    backend::Backend,
    inject::LONG,
    log::{Time, now},
    order::{Order, Place},
};
use diesel::{
    Connection, QueryableByName,
    sql_types::{BigInt, Bool, Nullable, Text},
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

/// So long a session may be at the head after the server has answered: when a second cancel keeps the server from releasing the
/// queue head lock, its client does so, and that may be stopped.
const CLEAN_UP: Duration = LONG.saturating_add(Duration::from_secs(2));

/// So long a session that ends may take from the release of its first lock to that of its last one: the system may let others
/// run meanwhile.
const LAST_LOCK: Duration = Duration::from_secs(1);

/// One row for each session that stands in a line, and one for each semaphore.
#[derive(QueryableByName)]
pub(crate) struct Row {
    #[diesel(sql_type = BigInt)]
    pub(crate) semaphore: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) name: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) pid: Option<i64>,
    #[diesel(sql_type = Bool)]
    pub(crate) granted: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) bars: bool,
    /// It has answered its call.
    #[diesel(sql_type = Bool)]
    pub(crate) idle: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) call: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) wait: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub(crate) tickets: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) held: i64,
}

impl Row {
    /// Of a queue: not the lock that forbids overtaking.
    fn is_head(&self) -> bool {
        self.granted && !self.bars
    }
}

/// A time in which somebody at the head of this semaphore's line had looked, and found too few.
pub(crate) struct Barred {
    pub(crate) semaphore: String,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Sight {
    pub(crate) looks: u64,
    pub(crate) barred: Vec<Barred>,
    pub(crate) most_held: BTreeMap<String, i64>,
    pub(crate) violations: Vec<String>,
}

/// One who stands in a line, in one call: semaphore, session, and when it called.
type Waiter = (i64, i64, String);

/// What has to be known from one look to the next.
#[derive(Default)]
struct Memory {
    /// For at most this time, a waiter may wait while all tickets are available.
    idle_limit: Option<Duration>,
    is_stopped: Option<fn(i64) -> bool>,
    order: Order,
    barring: BTreeMap<Waiter, Time>,
    /// Those who forbade overtaking and were not at the head of that line, in each look since then.
    not_at_head: BTreeMap<Waiter, Time>,
    /// Those whom each look since then saw at the head of a line, though they had answered: the two are not seen at one time.
    kept: BTreeMap<Waiter, Time>,
    idle_since: BTreeMap<i64, Time>,
}

/// Until it is over.
pub(crate) fn watch<B: Backend>(
    idle_limit: Option<Duration>,
    url: impl Fn() -> String,
    over: &AtomicBool,
) -> Sight {
    let mut sight = Sight::default();
    let mut memory = Memory::new::<B>(idle_limit);
    let mut conn = None;
    while !over.load(SeqCst) {
        let from = now();
        if conn.is_none() {
            conn = B::Connection::establish(&url()).ok();
        }
        let rows = conn.as_mut().and_then(|conn| B::look(conn).ok());
        let Some(rows) = rows else {
            // Nothing is known of what happens meanwhile.
            conn = None;
            memory = Memory::new::<B>(idle_limit);
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        sight.take_in(&mut memory, &rows, from, now());
        thread::sleep(Duration::from_millis(4));
    }
    sight
}

impl Memory {
    fn new<B: Backend>(idle_limit: Option<Duration>) -> Self {
        let mut memory = Self {
            idle_limit,
            is_stopped: Some(B::is_stopped),
            ..Self::default()
        };
        memory.order.doubt = u64::from(!B::LOOKS_ARE_ATOMIC);
        memory
    }
}

impl Sight {
    fn take_in(&mut self, memory: &mut Memory, rows: &[Row], from: Time, to: Time) {
        self.looks += 1;
        let (semaphores, line): (Vec<&Row>, Vec<&Row>) =
            rows.iter().partition(|row| row.pid.is_none());
        let waiter = |row: &Row| -> Waiter {
            (
                row.semaphore,
                row.pid.unwrap_or(0),
                row.call.clone().unwrap_or_default(),
            )
        };

        let places = line.iter().filter(|row| !row.bars).map(|row| Place {
            semaphore: row.semaphore,
            pid: row.pid.unwrap_or(0),
            is_head: row.granted,
            wait: row.wait.clone(),
        });
        self.violations.extend(memory.order.look(places));

        let mut kept = BTreeMap::new();
        for row in line.iter().filter(|row| row.granted && row.idle) {
            let key = waiter(row);
            let mut since = *memory.kept.get(&key).unwrap_or(&to);
            if from.saturating_sub(since) > CLEAN_UP {
                let (semaphore, pid, call) = &key;
                self.violations.push(format!(
                    "backend {pid} is still at the head of the queue of {semaphore}, after its call ({call}) at {to:?}"
                ));
                since = to;
            }
            kept.insert(key, since);
        }
        memory.kept = kept;

        let mut barring = BTreeMap::new();
        for row in line.iter().filter(|row| row.bars && row.granted) {
            let key = waiter(row);
            let name = semaphores
                .iter()
                .find(|s| s.semaphore == row.semaphore)
                .and_then(|s| s.name.clone());
            let since = memory.barring.get(&key).copied();
            if let (Some(since), Some(name)) = (since, name) {
                self.barred.push(Barred {
                    semaphore: name,
                    from: since,
                    to: from,
                });
            }
            barring.insert(key, since.unwrap_or(to));
        }
        memory.barring = barring;

        let not_at_head = memory.barring.keys().filter(|(semaphore, pid, _)| {
            let is_head = |row: &&&Row| row.is_head() && row.pid == Some(*pid);
            let line = line.iter().filter(|row| row.semaphore == *semaphore);
            line.clone().find(is_head).is_none()
        });
        let since = |waiter: &Waiter| *memory.not_at_head.get(waiter).unwrap_or(&to);
        let mut not_at_head: BTreeMap<_, _> = not_at_head
            .map(|waiter| (waiter.clone(), since(waiter)))
            .collect();
        for (waiter, since) in &mut not_at_head {
            if from.saturating_sub(*since) > LAST_LOCK {
                let (semaphore, pid, _) = waiter;
                self.violations.push(format!(
                    "session {pid} forbids overtaking in the queue of {semaphore}, and is not its head"
                ));
                *since = to;
            }
        }
        memory.not_at_head = not_at_head;

        for row in semaphores {
            let name = row.name.clone().unwrap_or_default();
            let most = self.most_held.entry(name.clone()).or_default();
            *most = (*most).max(row.held);
            if row.held > row.tickets {
                self.violations.push(format!(
                    "{} of {} tickets of {name} held",
                    row.held, row.tickets
                ));
            }
            let line = line.iter().filter(|l| l.semaphore == row.semaphore);
            let stands = line.clone().any(|l| !l.bars);
            // A fault may have stopped the head, a holder when the fault chose it, or the client of a head that has answered.
            let is_stopped = |pid| memory.is_stopped.is_some_and(|ask| ask(pid));
            let mut heads = line.clone().filter(|l| l.is_head());
            if stands && row.held == 0 && !heads.any(|l| l.idle || l.pid.is_some_and(is_stopped)) {
                let since = *memory.idle_since.entry(row.semaphore).or_insert(from);
                if let Some(limit) = memory.idle_limit
                    && to - since > limit
                {
                    let line: Vec<_> = line
                        .map(|l| (l.pid, l.granted, l.bars, l.idle, l.wait.as_deref()))
                        .collect();
                    self.violations.push(format!(
                        "{name}: all {} tickets available, and somebody waits, for {limit:?} since {since:?}; queue \
                         (session, granted, forbids overtaking, idle, wait event): {line:?}",
                        row.tickets
                    ));
                    memory.idle_since.remove(&row.semaphore);
                }
            } else {
                memory.idle_since.remove(&row.semaphore);
            }
        }
    }
}

#[cfg(test)]
mod allowance_tests;
#[cfg(test)]
mod tests;
