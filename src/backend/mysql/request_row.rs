//! The row by which a waiter, or a guard with a label, shows itself to others, who read it uncommitted.

use super::{errors::interrupted, fragment::statement, search::RandomNumbers};
use diesel::{
    MysqlConnection,
    prelude::*,
    sql_types::{BigInt, Integer, Nullable, Text},
};

statement! {
    Show { id: i64 => BigInt, semaphore_id: i64 => BigInt, tickets: i32 => Integer, label: Option<&'a str> => Nullable<Text>, wait: Option<i64> => Nullable<BigInt> } -> (),
    "INSERT INTO dbsemaphore_request (id, semaphore_id, tickets, label, wait_number, connection_id, since) \
     VALUES (?, ?, ?, ?, ?, CONNECTION_ID(), UTC_TIMESTAMP(6))"
}

statement! {
    /// In this form, each server looks up the row by its key alone. A scan would wait for the rows of others.
    Hide { id: i64 => BigInt } -> (),
    "DELETE r FROM dbsemaphore_request AS r WHERE r.id = ?"
}

statement! {
    IsShown { id: i64 => BigInt } -> BigInt,
    "SELECT COUNT(*) FROM dbsemaphore_request WHERE id = ?"
}

/// Inserts the row. Returns its id.
pub(super) fn show(
    conn: &mut MysqlConnection,
    semaphore_id: i64,
    tickets: i32,
    label: Option<&str>,
    wait: Option<i64>,
) -> QueryResult<i64> {
    let id = i64::try_from(RandomNumbers::new().next() >> 1).unwrap_or_default();
    Show::new(id, semaphore_id, tickets, label, wait).execute(conn)?;
    Ok(id)
}

/// Deletes the row. May be repeated.
pub(super) fn hide(conn: &mut MysqlConnection, id: i64) -> QueryResult<()> {
    let is_hidden =
        Hide::new(id).execute(conn)? > 0 || IsShown::new(id).get_result::<i64>(conn)? == 0;
    if is_hidden {
        Ok(())
    } else {
        Err(interrupted())
    }
}
