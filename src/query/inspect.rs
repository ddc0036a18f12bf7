//! The statements that list holders, waiters and usage.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Integer, Nullable, Text},
};

#[derive(QueryableByName)]
pub(crate) struct HolderRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) ticket: i64,
    /// In milliseconds, as all times of this module.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) held_for: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) transaction_for: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) prepared_transaction: Option<String>,
    #[diesel(embed)]
    pub(crate) session: SessionRow,
}

#[derive(QueryableByName)]
pub(crate) struct WaiterRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) place: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(crate) tickets: Option<i32>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) waited: Option<i64>,
    #[diesel(embed)]
    pub(crate) session: SessionRow,
}

#[derive(QueryableByName)]
pub(crate) struct SessionRow {
    #[diesel(sql_type = Nullable<Integer>)]
    pub(crate) pid: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) role: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) application: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) label: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) client_address: Option<String>,
}

#[derive(QueryableByName)]
pub(crate) struct UsageRow {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) tickets: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) in_use: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) waiting: i64,
}

const HOLDERS: &str = "SELECT h.ticket_id AS ticket, h.pid, h.usename AS role, h.application_name AS application, h.label, \
     pg_catalog.host(h.client_addr) AS client_address, dbsemaphore._age_ms(h.held_since) AS held_for, \
     dbsemaphore._age_ms(h.transaction_start) AS transaction_for, h.prepared_transaction \
     FROM dbsemaphore.holders($1) AS h";

const WAITERS: &str = "SELECT w.queue_position AS place, w.needed AS tickets, w.pid, w.usename AS role, \
     w.application_name AS application, w.label, pg_catalog.host(w.client_addr) AS client_address, \
     dbsemaphore._age_ms(w.waiting_since) AS waited \
     FROM dbsemaphore.waiters($1) AS w";

pub(crate) fn holders(conn: &mut PgConnection, name: &str) -> QueryResult<Vec<HolderRow>> {
    diesel::sql_query(HOLDERS).bind::<Text, _>(name).load(conn)
}

pub(crate) fn waiters(conn: &mut PgConnection, name: &str) -> QueryResult<Vec<WaiterRow>> {
    diesel::sql_query(WAITERS).bind::<Text, _>(name).load(conn)
}

pub(crate) fn usage(conn: &mut PgConnection) -> QueryResult<Vec<UsageRow>> {
    diesel::sql_query(
        "SELECT u.name, u.size AS tickets, u.in_use, u.waiting FROM dbsemaphore.usage() AS u",
    )
    .load(conn)
}
