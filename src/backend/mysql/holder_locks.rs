//! The user locks by which `holders` and `usage` show a guard, one for each ticket.

use super::{fragment::statement, locks::Lock};
use crate::backend::transaction::{mark_broken, retry};
use diesel::{
    MysqlConnection,
    prelude::*,
    sql_types::{BigInt, Text},
};

statement! {
    /// Releases those that this session has of a semaphore.
    ReleaseAll { name: &'a str => Text } -> BigInt,
    format!(
        "SELECT COUNT(RELEASE_LOCK({})) FROM dbsemaphore_ticket AS t WHERE t.semaphore_id = \
             (SELECT s.id FROM dbsemaphore_semaphore AS s WHERE s.name = ?)",
        Lock::Holder.name("t.id"),
    )
}

/// Acquires the holder locks of tickets whose previous holder is just being closed by the server.
pub(super) fn acquire_late(conn: &mut MysqlConnection, tickets: &[i64]) {
    for id in tickets {
        let statement = format!("DO GET_LOCK({}, 1)", Lock::Holder.name(id));
        if let Err(error) = diesel::sql_query(statement).execute(conn) {
            log::debug!("the holder of ticket {id} will not be shown: {error}");
        }
    }
}

/// Statements, each with its semicolon, that release the holder locks of these tickets.
pub(super) fn release_statements(ticket_ids: &[i64]) -> String {
    if ticket_ids.is_empty() {
        return String::new();
    }
    let released: Vec<_> = ticket_ids
        .iter()
        .map(|id| format!("RELEASE_LOCK({})", Lock::Holder.name(id)))
        .collect();
    format!("DO {}; ", released.join(", "))
}

/// After an error of a guard's request. A statement that was interrupted may have acquired a holder lock, without telling of which
/// ticket. The session has no others of this semaphore, because a guard has its connection alone.
pub(super) fn release_all(conn: &mut MysqlConnection, semaphore: &str) {
    if let Err(error) = retry(|| ReleaseAll::new(semaphore).get_result::<i64>(conn)) {
        log::debug!("the connection may be shown as a holder, and is not reused: {error}");
        mark_broken(conn);
    }
}
