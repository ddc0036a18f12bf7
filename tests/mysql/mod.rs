//! What is MySQL's and MariaDB's alone.

mod autocommit;
mod binary_log;
mod cancel;
mod deadlock;
mod ended_transaction;
mod failover;
mod fencing;
mod guard;
mod hostile;
mod inspect;
mod migrations;
mod names;
mod queue;
mod rights;
mod round_trips;
mod search;

use diesel::{
    MysqlConnection, QueryResult, QueryableByName, RunQueryDsl,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_types::BigInt,
};
use diesel_dbsemaphore::{self as sem, Error};
use stand::mysql::Database;

/// A database with the tables and this semaphore.
fn with_semaphore(name: &str, size: u32) -> (Database, MysqlConnection) {
    let database = Database::create();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, name, size).unwrap();
    (database, conn)
}

fn run(conn: &mut MysqlConnection, sql: &str) -> QueryResult<usize> {
    diesel::sql_query(sql).execute(conn)
}

/// The number that an expression has.
fn number(conn: &mut MysqlConnection, sql: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let query = format!("SELECT CAST({sql} AS signed) AS number");
    diesel::sql_query(query)
        .get_result::<Row>(conn)
        .unwrap()
        .number
}

fn is_mariadb(conn: &mut MysqlConnection) -> bool {
    number(conn, "VERSION() LIKE '%MariaDB%'") == 1
}

/// Whether a call says that the server has rolled back the whole transaction.
fn is_serialization_failure<T>(result: &sem::Result<T>) -> bool {
    use DatabaseErrorKind::SerializationFailure;
    matches!(
        result,
        Err(Error::Database(DieselError::DatabaseError(SerializationFailure, raised)))
            if raised.hint().is_some_and(|hint| hint.contains("rolled back the whole transaction"))
    )
}
