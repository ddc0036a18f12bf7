//! Ends a session of MySQL or MariaDB.

use super::{holder, not_ended, not_found, not_held, wait_until};
use crate::fault::Fault;
use diesel::{
    MysqlConnection,
    connection::SimpleConnection,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Text},
};
use diesel_dbsemaphore::Holder;

/// A server uses the id of a connection once, until its next start. That start ends the connection of this tool, too.
#[derive(PartialEq)]
pub(super) struct Proof {
    pid: i32,
    /// When the session acquired the ticket. `None` for a guard without a label.
    since: Option<String>,
}

#[derive(QueryableByName)]
struct Since {
    #[diesel(sql_type = Text)]
    since: String,
}

impl Proof {
    pub(super) fn find(
        conn: &mut MysqlConnection,
        name: &str,
        holder: &Holder,
    ) -> Result<Self, Fault> {
        let pid = holder.session.pid.ok_or_else(|| not_found(holder.ticket))?;
        let since = since(conn, name, pid)?;
        Ok(Self { pid, since })
    }

    /// Ends the session if it still holds the ticket.
    pub(super) fn end(
        &self,
        conn: &mut MysqlConnection,
        name: &str,
        ticket: i64,
    ) -> Result<(), Fault> {
        let now = holder(conn, name, ticket)?.ok_or_else(|| not_held(name, ticket))?;
        if Self::find(conn, name, &now)? != *self {
            return Err(not_held(name, ticket));
        }
        conn.batch_execute(&format!("KILL {}", self.pid))
            .map_err(|error| {
                Fault::new(format_args!(
                    "the session can't be ended: {error} (it takes the same account, or CONNECTION_ADMIN)"
                ))
            })?;
        let is_released = wait_until(|| {
            let now = holder(conn, name, ticket)?;
            Ok(now.is_none_or(|now| now.session.pid != Some(self.pid)))
        })?;
        if is_released {
            Ok(())
        } else {
            Err(not_ended("session", self.pid))
        }
    }
}

/// The rows of guards are uncommitted.
fn since(conn: &mut MysqlConnection, name: &str, pid: i32) -> QueryResult<Option<String>> {
    conn.batch_execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")?;
    conn.transaction(|conn| {
        let row: Option<Since> = sql_query(
            "SELECT CAST(r.since AS CHAR) AS since FROM dbsemaphore_request AS r \
                 JOIN dbsemaphore_semaphore AS s ON s.id = r.semaphore_id \
             WHERE s.name = ? AND r.connection_id = ? AND r.wait_number IS NULL LIMIT 1",
        )
        .bind::<Text, _>(name)
        .bind::<BigInt, _>(i64::from(pid))
        .get_result(conn)
        .optional()?;
        Ok(row.map(|row| row.since))
    })
}
