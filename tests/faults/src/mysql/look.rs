//! What the witness asks MySQL and MariaDB. Neither reads the locks of one time: see `order`.

use crate::witness::Row;
use diesel::{
    MysqlConnection, QueryResult, QueryableByName, RunQueryDsl,
    sql_types::{BigInt, Text},
};
use std::collections::BTreeMap;

#[derive(QueryableByName)]
struct Semaphore {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    tickets: i64,
    #[diesel(sql_type = BigInt)]
    held: i64,
}

#[derive(QueryableByName)]
struct Lock {
    #[diesel(sql_type = BigInt)]
    thread: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    status: String,
}

const SEMAPHORES: &str = "SELECT s.id, s.name, COUNT(*) AS tickets, CAST(0 AS signed) AS held \
     FROM dbsemaphore_semaphore AS s JOIN dbsemaphore_ticket AS t ON t.semaphore_id = s.id GROUP BY s.id, s.name";

/// MySQL shows row locks, and the key of each row. The semaphore is the first part of a ticket's.
const HELD: &str = "SELECT d.semaphore AS id, '' AS name, 0 AS tickets, COUNT(DISTINCT d.ticket) AS held \
     FROM (SELECT CAST(SUBSTRING_INDEX(lock_data, ',', 1) AS signed) AS semaphore, lock_data AS ticket \
         FROM performance_schema.data_locks \
         WHERE object_schema = DATABASE() AND object_name = 'dbsemaphore_ticket' AND index_name = 'PRIMARY' \
           AND lock_status = 'GRANTED' AND lock_data LIKE '%, %') AS d GROUP BY d.semaphore";

/// The user locks of waiters and of heads. A wait has a number, by which its session names a lock before it joins the queue. A session
/// is its thread here, because a join with other tables is not of one time either, and would show some sessions under two numbers.
const LOCKS: &str = "SELECT CAST(l.owner_thread_id AS signed) AS thread, l.object_name AS name, l.lock_status AS status \
     FROM performance_schema.metadata_locks AS l \
     WHERE l.object_name LIKE 'dbsemaphore.q.%' OR l.object_name LIKE 'dbsemaphore.o.%' OR l.object_name LIKE 'dbsemaphore.w.%'";

pub(super) fn look(conn: &mut MysqlConnection) -> QueryResult<Vec<Row>> {
    let locks: Vec<Lock> = diesel::sql_query(LOCKS).load(conn)?;
    let mut semaphores: Vec<Semaphore> = diesel::sql_query(SEMAPHORES).load(conn)?;
    // MariaDB doesn't show them.
    let held: Vec<Semaphore> = diesel::sql_query(HELD).load(conn).unwrap_or_default();
    for semaphore in &mut semaphores {
        let held = held.iter().find(|held| held.id == semaphore.id);
        // One may have been resized in between.
        semaphore.held = held.map_or(0, |held| held.held.min(semaphore.tickets));
    }
    let waits: BTreeMap<i64, &str> = locks
        .iter()
        .filter(|lock| lock.name.starts_with("dbsemaphore.w."))
        .map(|lock| (lock.thread, lock.name.as_str()))
        .collect();
    let in_queue = locks.iter().filter_map(|lock| {
        let (kind, number) = (lock.name.get(12..13)?, lock.name.rsplit('.').next()?);
        if !matches!(kind, "q" | "o") {
            return None;
        }
        let wait = waits.get(&lock.thread).map(|wait| (*wait).to_owned());
        Some(Row {
            semaphore: number.parse().ok()?,
            name: None,
            pid: Some(lock.thread),
            granted: lock.status == "GRANTED",
            bars: kind == "o",
            idle: false,
            call: wait.clone(),
            wait,
            tickets: 0,
            held: 0,
        })
    });
    let semaphores = semaphores.iter().map(|semaphore| Row {
        semaphore: semaphore.id,
        name: Some(semaphore.name.clone()),
        pid: None,
        granted: false,
        bars: false,
        idle: false,
        call: None,
        wait: None,
        tickets: semaphore.tickets,
        held: semaphore.held,
    });
    Ok(in_queue.chain(semaphores).collect())
}
