//! What is PostgreSQL's alone.

mod bad_input;
mod deadlock;
mod diesel_cli;
mod event_triggers;
mod fencing;
mod finding;
mod from_django;
mod guard;
mod inspect;
mod inspect_other_locks;
mod intruders;
mod isolation;
mod leaving;
mod manage;
mod migrations;
mod network;
mod order;
mod pool;
mod pooler;
mod queue;
mod release;
mod rights;
mod round_trips;
mod row_security;
mod savepoints;
mod search_path;
mod security;
mod server_log;
mod settings;
mod standby;
mod test_transactions;
mod upgrade_locks;
mod upgrades;
mod watch;
mod your_transaction;

use crate::kit::eventually;
use diesel::{PgConnection, QueryableByName, RunQueryDsl, sql_types::BigInt};
use stand::postgres::Database;

/// The one number that a query returns.
pub(crate) fn number(conn: &mut PgConnection, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let row: Row = diesel::sql_query(format!("SELECT ({query})::bigint AS number"))
        .get_result(conn)
        .unwrap();
    row.number
}

/// Waits until a session sleeps on a lock of this type, as `pg_locks` names it.
fn until_waiting_for(database: &Database, locktype: &str) {
    let mut conn = database.connect();
    eventually("somebody waits", || {
        number(
            &mut conn,
            &format!(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
                 WHERE NOT granted AND locktype = '{locktype}' AND datname = current_database()"
            ),
        ) > 0
    });
}
