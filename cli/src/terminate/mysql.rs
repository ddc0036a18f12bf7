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
use std::collections::BTreeMap;

/// A server uses the id of a connection once, until its next start. That start ends the connection of this tool, too.
#[derive(PartialEq)]
pub(super) struct Proof {
    pid: i32,
    /// When the session acquired the ticket. `None` for a guard without a label.
    since: Option<String>,
}

#[derive(QueryableByName)]
struct Since {
    #[diesel(sql_type = BigInt)]
    pid: i64,
    #[diesel(sql_type = Text)]
    since: String,
}

impl Proof {
    pub(super) fn find(
        conn: &mut MysqlConnection,
        name: &str,
        holder: &Holder,
    ) -> Result<Self, Fault> {
        let all = since(conn, name)?;
        Self::of(holder, &all).ok_or_else(|| not_found(holder.ticket))
    }

    /// `None` if the session of the holder is unknown.
    pub(super) fn of(holder: &Holder, since: &BTreeMap<i64, String>) -> Option<Self> {
        let pid = holder.session.pid?;
        let since = since.get(&pid.into()).cloned();
        Some(Self { pid, since })
    }

    pub(super) fn text(&self) -> String {
        format!("{} {}", self.pid, self.since.as_deref().unwrap_or_default())
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
                    "the session can't be ended: {error} (it takes the same account, or the right CONNECTION_ADMIN, on MariaDB CONNECTION ADMIN)"
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

/// Since when each session has held tickets. The rows of guards are uncommitted.
pub(super) fn since(conn: &mut MysqlConnection, name: &str) -> QueryResult<BTreeMap<i64, String>> {
    conn.batch_execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")?;
    let rows: Vec<Since> = conn.transaction(|conn| {
        sql_query(
            "SELECT CAST(r.connection_id AS signed) AS pid, CAST(r.since AS CHAR) AS since \
             FROM dbsemaphore_request AS r JOIN dbsemaphore_semaphore AS s ON s.id = r.semaphore_id \
             WHERE s.name = ? AND r.wait_number IS NULL",
        )
        .bind::<Text, _>(name)
        .load(conn)
    })?;
    Ok(rows.into_iter().map(|row| (row.pid, row.since)).collect())
}
