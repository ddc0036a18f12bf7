//! Looks at the server, some hundred times a second, without the library: who waits in the queue, and which tickets are held.

use crate::{
    arena::Urls,
    log::{Time, now},
    order::{Order, Place},
};
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl,
    sql_types::{BigInt, Bool, Nullable, Text},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

/// For at most this time, a waiter may wait while all tickets are available.
const IDLE: Duration = Duration::from_secs(2);

/// So long a session may be at the head after the server has answered: when a second cancel keeps the server from releasing
/// the queue head lock, its client does so, which on a busy machine takes its time.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// One row for each session that stands in a line, and one for each semaphore. Order is judged by what `pg_locks` says alone,
/// which is of one time: `pg_stat_activity` is read earlier or later, and may lack a session, or show its former call.
const LOOK: &str = "\
    SELECT s.id AS semaphore, s.name AS name, NULL::bigint AS pid, false AS granted, false AS bars, false AS idle, NULL AS call, \
        NULL AS wait, \
        count(*) AS tickets, count(*) FILTER (WHERE t.xmax <> 0 AND pg_xact_status( \
            ((pg_snapshot_xmax(pg_current_snapshot())::text::bigint >> 32 << 32) | t.xmax::text::bigint)::text::xid8 \
        ) = 'in progress') AS held \
    FROM dbsemaphore.semaphore s JOIN dbsemaphore.ticket t ON t.semaphore_id = s.id GROUP BY s.id, s.name \
    UNION ALL \
    SELECT l.objid::bigint, NULL, l.pid, l.granted, l.classid = x'6462736f'::integer, coalesce(a.state LIKE 'idle%', false), \
        concat_ws(' ', a.query_start, a.application_name, a.state), l.virtualtransaction || ' ' || l.waitstart, 0, 0 \
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
    WHERE l.locktype = 'advisory' AND l.classid IN (x'64627371'::integer, x'6462736f'::integer) \
      AND l.mode = 'ExclusiveLock' \
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    semaphore: i64,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pid: Option<i64>,
    #[diesel(sql_type = Bool)]
    granted: bool,
    #[diesel(sql_type = Bool)]
    bars: bool,
    /// It has answered its call.
    #[diesel(sql_type = Bool)]
    idle: bool,
    #[diesel(sql_type = Nullable<Text>)]
    call: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    wait: Option<String>,
    #[diesel(sql_type = BigInt)]
    tickets: i64,
    #[diesel(sql_type = BigInt)]
    held: i64,
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
    order: Order,
    barring: BTreeMap<Waiter, Time>,
    /// Those whom each look since then saw at the head of a line, though they had answered: the two are not seen at one time.
    kept: BTreeMap<Waiter, Time>,
    idle_since: BTreeMap<i64, Time>,
}

/// Until it is over.
pub(crate) fn watch(folder: &Path, over: &AtomicBool) -> Sight {
    let mut sight = Sight::default();
    let mut memory = Memory::default();
    let mut conn = None;
    while !over.load(SeqCst) {
        let from = now();
        let rows = connected(&mut conn, folder)
            .and_then(|conn| diesel::sql_query(LOOK).load::<Row>(conn).ok());
        let Some(rows) = rows else {
            // Nothing is known of what happens meanwhile.
            conn = None;
            memory = Memory::default();
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        sight.take_in(&mut memory, &rows, from, now());
        thread::sleep(Duration::from_millis(4));
    }
    sight
}

/// The lines of a server's log, with `log_lock_waits` on, that say that it rearranged a queue. It does so to resolve some
/// deadlocks, and then somebody overtakes: see "Limits" in docs/guide/waiting.md.
pub(crate) fn rearranged(log: &str) -> Vec<String> {
    let lines = log.lines();
    let lines = lines.filter(|line| line.contains("by rearranging queue order"));
    lines
        .map(|line| format!("PostgreSQL rearranged a queue: {line}"))
        .collect()
}

fn connected<'a>(
    conn: &'a mut Option<PgConnection>,
    folder: &Path,
) -> Option<&'a mut PgConnection> {
    if conn.is_none() {
        let url = Urls::read(folder).of(crate::arena::Place::Here);
        *conn = PgConnection::establish(&url).ok();
    }
    conn.as_mut()
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
            let stands = line.iter().any(|l| l.semaphore == row.semaphore && !l.bars);
            if stands && row.held == 0 {
                let since = *memory.idle_since.entry(row.semaphore).or_insert(from);
                if to - since > IDLE {
                    self.violations.push(format!(
                        "{name}: all tickets available, and somebody waits, for {IDLE:?}"
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
mod tests;
