//! What is seen from outside.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Integer, Nullable, Text},
};

#[derive(QueryableByName)]
pub(crate) struct HolderRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) ticket: i64,
    /// In milliseconds, as all times here.
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

pub(crate) fn holders(conn: &mut PgConnection, name: &str) -> QueryResult<Vec<HolderRow>> {
    diesel::sql_query("SELECT * FROM dbsemaphore.holders($1)")
        .bind::<Text, _>(name)
        .load(conn)
}

pub(crate) fn waiters(conn: &mut PgConnection, name: &str) -> QueryResult<Vec<WaiterRow>> {
    diesel::sql_query("SELECT * FROM dbsemaphore.waiters($1)")
        .bind::<Text, _>(name)
        .load(conn)
}

pub(crate) fn usage(conn: &mut PgConnection) -> QueryResult<Vec<UsageRow>> {
    diesel::sql_query("SELECT * FROM dbsemaphore.usage()").load(conn)
}
