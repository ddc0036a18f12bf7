//! Cancelling a wait from another session, by KILL QUERY. The account has to be that of the waiter, or has to have the right to kill
//! others.

use super::{fragment::statement, locks::Lock};
use crate::backend::transaction::retry;
use diesel::{
    MysqlConnection,
    connection::SimpleConnection,
    prelude::*,
    sql_types::{BigInt, Double, Nullable},
};

/// How often a cancellation is sent, a millisecond apart, until the wait has ended. One that reaches the session between two
/// statements has no effect.
const MAX_CANCELLATIONS: usize = 20;

/// How often, each 50 ms, this looks whether the wait has ended before it closes the waiter's connection. MariaDB does not answer
/// some statements that KILL QUERY reaches at their end, so that their client would wait without end.
const LOOKS_BEFORE_KILL: usize = 100;

statement! {
    BeginCancel { cancel: i64 => BigInt, wait: i64 => BigInt } -> (Nullable<BigInt>, Nullable<BigInt>),
    format!("SELECT GET_LOCK({}, 1), IS_USED_LOCK({})", Lock::Cancel.name("?"), Lock::Wait.name("?"))
}

statement! {
    WaitAfter { pause: f64 => Double, wait: i64 => BigInt } -> (BigInt, Nullable<BigInt>),
    format!("SELECT SLEEP(?), IS_USED_LOCK({})", Lock::Wait.name("?"))
}

statement! {
    EndCancel { cancel: i64 => BigInt } -> (),
    format!("DO RELEASE_LOCK({})", Lock::Cancel.name("?"))
}

/// Cancels the wait with this number. Returns whether there was one.
pub(super) fn cancel_wait(conn: &mut MysqlConnection, number: u32) -> QueryResult<bool> {
    let number = i64::from(number);
    let (_, waiter): (Option<i64>, Option<i64>) =
        BeginCancel::new(number, number).get_result(conn)?;
    let cancelled = match waiter {
        Some(waiter) => kill_query(conn, number, waiter).map(|()| true),
        None => Ok(false),
    };
    retry(|| EndCancel::new(number).execute(conn))?;
    cancelled
}

fn kill_query(conn: &mut MysqlConnection, number: i64, waiter: i64) -> QueryResult<()> {
    let waits = |conn: &mut MysqlConnection, pause| -> QueryResult<bool> {
        let (_, session): (i64, Option<i64>) = WaitAfter::new(pause, number).get_result(conn)?;
        Ok(session == Some(waiter))
    };
    for _ in 0..MAX_CANCELLATIONS {
        let killed = conn.batch_execute(&format!("KILL QUERY {waiter}"));
        if !waits(conn, 0.001)? {
            return Ok(());
        }
        killed?;
    }
    for _ in 0..LOOKS_BEFORE_KILL {
        if !waits(conn, 0.05)? {
            return Ok(());
        }
    }
    log::warn!("session {waiter} does not answer a cancellation: closing its connection");
    conn.batch_execute(&format!("KILL CONNECTION {waiter}"))
}
