//! The statements that list holders, waiters and usage. No privileges are needed beside SELECT on the tables: guards have a user lock
//! for each ticket, and waiters have uncommitted rows. What an account may not see of other sessions is `None`.

use super::{
    fragment::ALL_ROWS, locks::Lock, manage::semaphore_id, transaction::reading_uncommitted,
};
use crate::{Holder, Result, Session, Usage, Waiter};
use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Integer, Nullable, Text},
};
use std::time::Duration;

#[derive(QueryableByName)]
struct Row {
    /// The id of a ticket, or of a request.
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    pid: i64,
    #[diesel(sql_type = Nullable<Text>)]
    role: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    host: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    label: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    tickets: Option<i32>,
    /// In milliseconds.
    #[diesel(sql_type = Nullable<BigInt>)]
    age: Option<i64>,
}

#[derive(QueryableByName)]
struct UsageRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    size: i64,
    #[diesel(sql_type = BigInt)]
    in_use: i64,
    #[diesel(sql_type = BigInt)]
    waiting: i64,
}

const AGE: &str = "TIMESTAMPDIFF(MICROSECOND, r.since, UTC_TIMESTAMP(6)) DIV 1000";

/// A request whose session is gone has no lock. A row of such a request is there only if somebody has committed it.
fn is_waiting() -> String {
    format!(
        "r.wait_number IS NOT NULL AND IS_USED_LOCK({}) = r.connection_id",
        Lock::Wait.name("r.wait_number")
    )
}

pub(super) fn holders(conn: &mut MysqlConnection, name: &str) -> Result<Option<Vec<Holder>>> {
    let query = format!(
        "SELECT h.id, h.pid, p.user AS role, p.host, r.label, NULL AS tickets, {AGE} AS age \
         FROM ( \
             SELECT t.id, t.semaphore_id, CAST(IS_USED_LOCK({}) AS signed) AS pid \
             FROM dbsemaphore_ticket AS t WHERE t.semaphore_id = ? HAVING pid IS NOT NULL) AS h \
         LEFT JOIN information_schema.processlist AS p ON p.id = h.pid \
         LEFT JOIN dbsemaphore_request AS r \
             ON r.connection_id = h.pid AND r.semaphore_id = h.semaphore_id AND r.wait_number IS NULL \
         ORDER BY h.id {ALL_ROWS}",
        Lock::Holder.name("t.id")
    );
    let rows = rows(conn, name, |id| vec![id], query)?;
    Ok(rows.map(|rows| {
        rows.into_iter()
            .map(|row| Holder {
                ticket: row.id,
                held_for: milliseconds(row.age),
                transaction_for: None,
                prepared_transaction: None,
                session: row.into(),
            })
            .collect()
    }))
}

pub(super) fn waiters(conn: &mut MysqlConnection, name: &str) -> Result<Option<Vec<Waiter>>> {
    let query = format!(
        "SELECT r.id, CAST(r.connection_id AS signed) AS pid, p.user AS role, p.host, r.label, r.tickets, {AGE} AS age \
         FROM dbsemaphore_request AS r \
         LEFT JOIN information_schema.processlist AS p ON p.id = r.connection_id \
         WHERE r.semaphore_id = ? AND {} \
         ORDER BY COALESCE(IS_USED_LOCK({}) <> r.connection_id, TRUE), r.since {ALL_ROWS}",
        is_waiting(),
        Lock::QueueHead.name("?")
    );
    let rows = rows(conn, name, |id| vec![id, id], query)?;
    Ok(rows.map(|rows| {
        (1..)
            .zip(rows)
            .map(|(position, row)| Waiter {
                position,
                tickets: row.tickets.and_then(|tickets| tickets.try_into().ok()),
                waited: milliseconds(row.age),
                session: row.into(),
            })
            .collect()
    }))
}

/// `None` if there is no such semaphore.
fn rows(
    conn: &mut MysqlConnection,
    name: &str,
    binds: impl FnOnce(i64) -> Vec<i64>,
    query: String,
) -> Result<Option<Vec<Row>>> {
    reading_uncommitted(conn, |conn| {
        let Some(id) = semaphore_id(conn, name)? else {
            return Ok(None);
        };
        let mut query = sql_query(query).into_boxed();
        for bind in binds(id) {
            query = query.bind::<BigInt, _>(bind);
        }
        Ok(Some(query.load(conn)?))
    })
}

/// Of all semaphores, or of the one with this name.
pub(super) fn usage(conn: &mut MysqlConnection, name: Option<&str>) -> Result<Vec<Usage>> {
    let query = format!(
        "SELECT s.name, CAST(s.size AS signed) AS size, \
             (SELECT COUNT(IS_USED_LOCK({})) FROM dbsemaphore_ticket AS t WHERE t.semaphore_id = s.id) AS in_use, \
             (SELECT COUNT(*) FROM dbsemaphore_request AS r WHERE r.semaphore_id = s.id AND {}) AS waiting \
         FROM dbsemaphore_semaphore AS s WHERE ? IS NULL OR s.name = ? ORDER BY s.name {ALL_ROWS}",
        Lock::Holder.name("t.id"),
        is_waiting()
    );
    let rows: Vec<UsageRow> = reading_uncommitted(conn, |conn| {
        Ok(sql_query(query)
            .bind::<Nullable<Text>, _>(name)
            .bind::<Nullable<Text>, _>(name)
            .load(conn)?)
    })?;
    let usage = rows.into_iter().map(|row| Usage {
        name: row.name,
        size: count(row.size),
        in_use: count(row.in_use),
        waiting: count(row.waiting),
    });
    Ok(usage.collect())
}

impl From<Row> for Session {
    fn from(row: Row) -> Self {
        Self {
            pid: row.pid.try_into().ok(),
            role: row.role,
            application: None,
            label: row.label,
            client_address: row.host.and_then(address),
        }
    }
}

/// The host of `host:port`. `None` on a Unix socket.
fn address(host: String) -> Option<String> {
    host.rsplit_once(':').map(|(host, _)| host.to_owned())
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn milliseconds(number: Option<i64>) -> Option<Duration> {
    number.and_then(|number| Some(Duration::from_millis(u64::try_from(number).ok()?)))
}
