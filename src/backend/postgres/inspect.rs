//! The statements that list holders, waiters and usage.

use super::manage::semaphore_id;
use crate::{Holder, Result, Session, Usage, Waiter, backend::transaction::in_read_scope};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Integer, Nullable, Text},
};
use std::time::Duration;

#[derive(QueryableByName)]
struct HolderRow {
    #[diesel(sql_type = BigInt)]
    ticket: i64,
    /// In milliseconds, as all times of this module.
    #[diesel(sql_type = Nullable<BigInt>)]
    held_for: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    transaction_for: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    prepared_transaction: Option<String>,
    #[diesel(embed)]
    session: SessionRow,
}

#[derive(QueryableByName)]
struct WaiterRow {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    tickets: Option<i32>,
    #[diesel(sql_type = Nullable<BigInt>)]
    waited: Option<i64>,
    #[diesel(embed)]
    session: SessionRow,
}

#[derive(QueryableByName)]
struct SessionRow {
    #[diesel(sql_type = Nullable<Integer>)]
    pid: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    role: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    application: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    label: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    client_address: Option<String>,
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

const HOLDERS: &str = "SELECT h.ticket_id AS ticket, h.pid, h.usename AS role, h.application_name AS application, h.label, \
     pg_catalog.host(h.client_addr) AS client_address, dbsemaphore._age_ms(h.held_since) AS held_for, \
     dbsemaphore._age_ms(h.transaction_start) AS transaction_for, h.prepared_transaction \
     FROM dbsemaphore.holders($1) AS h";

const WAITERS: &str = "SELECT w.queue_position AS position, w.needed AS tickets, w.pid, w.usename AS role, \
     w.application_name AS application, w.label, pg_catalog.host(w.client_addr) AS client_address, \
     dbsemaphore._age_ms(w.waiting_since) AS waited \
     FROM dbsemaphore.waiters($1) AS w";

pub(super) fn holders(conn: &mut PgConnection, name: &str) -> Result<Option<Vec<Holder>>> {
    of_semaphore(conn, name, HOLDERS, |row: HolderRow| Holder {
        ticket: row.ticket,
        session: row.session.into(),
        held_for: milliseconds(row.held_for),
        transaction_for: milliseconds(row.transaction_for),
        prepared_transaction: row.prepared_transaction,
    })
}

pub(super) fn waiters(conn: &mut PgConnection, name: &str) -> Result<Option<Vec<Waiter>>> {
    of_semaphore(conn, name, WAITERS, |row: WaiterRow| Waiter {
        position: count(row.position),
        tickets: row.tickets.map(|tickets| count(tickets.into())),
        session: row.session.into(),
        waited: milliseconds(row.waited),
    })
}

/// Returns `None` if there is no such semaphore.
fn of_semaphore<R, T>(
    conn: &mut PgConnection,
    name: &str,
    query: &str,
    view: fn(R) -> T,
) -> Result<Option<Vec<T>>>
where
    R: QueryableByName<diesel::pg::Pg> + 'static,
{
    in_read_scope(conn, |conn| {
        let rows: Vec<R> = diesel::sql_query(query).bind::<Text, _>(name).load(conn)?;
        if rows.is_empty() && semaphore_id(conn, name)?.is_none() {
            return Ok(None);
        }
        Ok(Some(rows.into_iter().map(view).collect()))
    })
}

/// Of all semaphores, or of the one with this name.
pub(super) fn usage(conn: &mut PgConnection, name: Option<&str>) -> Result<Vec<Usage>> {
    let query =
        diesel::sql_query("SELECT * FROM dbsemaphore.usage($1)").bind::<Nullable<Text>, _>(name);
    let rows: Vec<UsageRow> = in_read_scope(conn, |conn| Ok(query.load(conn)?))?;
    let usage = rows.into_iter().map(|row| Usage {
        name: row.name,
        size: count(row.size),
        in_use: count(row.in_use),
        waiting: count(row.waiting),
    });
    Ok(usage.collect())
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            pid: row.pid,
            role: row.role,
            application: row.application,
            label: row.label,
            client_address: row.client_address,
        }
    }
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn milliseconds(number: Option<i64>) -> Option<Duration> {
    number.and_then(|number| Some(Duration::from_millis(u64::try_from(number).ok()?)))
}
