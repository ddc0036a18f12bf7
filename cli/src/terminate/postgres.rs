//! Ends a session of PostgreSQL.

use super::{ENDING, not_ended, not_found, not_held};
use crate::fault::Fault;
use diesel::{
    PgConnection,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Bool, Integer, Nullable, Text},
};
use diesel_dbsemaphore::Holder;
use std::collections::BTreeMap;

/// Selects the holder of ticket $2 of semaphore $1, or of each ticket if $2 is null. A process id can belong to another session later, and a pooler's
/// session to another client. The start of the session and the transaction that has locked the row distinguish them.
const HOLD: &str = "SELECT h.ticket_id, h.pid, extract(epoch FROM a.backend_start)::text AS began, t.xmax::text AS locked_by \
     FROM dbsemaphore.holders($1) AS h \
         JOIN dbsemaphore.ticket AS t ON t.id = h.ticket_id \
         LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = h.pid \
     WHERE $2 IS NULL OR h.ticket_id = $2";

#[derive(QueryableByName)]
pub(crate) struct Proof {
    #[diesel(sql_type = BigInt)]
    ticket_id: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    pid: Option<i32>,
    /// `None` if this role may not see it.
    #[diesel(sql_type = Nullable<Text>)]
    began: Option<String>,
    #[diesel(sql_type = Text)]
    locked_by: String,
}

#[derive(QueryableByName)]
struct Terminated {
    #[diesel(sql_type = Bool)]
    ended: bool,
}

impl Proof {
    pub(super) fn find(
        conn: &mut PgConnection,
        name: &str,
        holder: &Holder,
    ) -> Result<Self, Fault> {
        let ticket = holder.ticket;
        if let Some(name) = &holder.prepared_transaction {
            return Err(Fault::new(format_args!(
                "no session holds ticket {ticket}, but the prepared transaction {name:?}: end it with ROLLBACK PREPARED or \
                 COMMIT PREPARED"
            )));
        }
        let pid = holder.session.pid.ok_or_else(|| not_found(ticket))?;
        Self::select(conn, name, ticket)?
            .filter(|proof| proof.pid == Some(pid))
            .ok_or_else(|| not_held(name, ticket))
    }

    fn select(conn: &mut PgConnection, name: &str, ticket: i64) -> QueryResult<Option<Self>> {
        sql_query(HOLD)
            .bind::<Text, _>(name)
            .bind::<Nullable<BigInt>, _>(Some(ticket))
            .get_result(conn)
            .optional()
    }

    /// By ticket.
    pub(super) fn select_all(
        conn: &mut PgConnection,
        name: &str,
    ) -> QueryResult<BTreeMap<i64, Self>> {
        let proofs: Vec<Self> = sql_query(HOLD)
            .bind::<Text, _>(name)
            .bind::<Nullable<BigInt>, _>(None::<i64>)
            .load(conn)?;
        let proofs = proofs.into_iter().map(|proof| (proof.ticket_id, proof));
        Ok(proofs.collect())
    }

    /// `None` if it is not that of this holder.
    pub(super) fn text(&self, holder: &Holder) -> Option<String> {
        let pid = holder.session.pid?;
        let began = self.began.as_deref().unwrap_or_default();
        (self.pid == Some(pid)).then(|| format!("{pid} {began} {}", self.locked_by))
    }

    /// Ends the session if it still holds the ticket in the same transaction.
    pub(super) fn end(
        &self,
        conn: &mut PgConnection,
        name: &str,
        ticket: i64,
    ) -> Result<(), Fault> {
        let pid = self.pid.unwrap_or_default();
        match self.terminate(conn, name, ticket)? {
            None => return Err(not_held(name, ticket)),
            Some(Terminated { ended: false }) => return Err(not_ended("session", pid)),
            Some(Terminated { ended: true }) => {}
        }
        let after = Self::select(conn, name, ticket)?;
        if after.is_some_and(|after| after.locked_by == self.locked_by) {
            return Err(Fault::new(format_args!(
                "session {pid} has ended, but ticket {ticket} of {name:?} is still held: `dbsemaphore show` shows by whom"
            )));
        }
        Ok(())
    }

    /// `None` if another session or transaction holds the ticket.
    fn terminate(
        &self,
        conn: &mut PgConnection,
        name: &str,
        ticket: i64,
    ) -> Result<Option<Terminated>, Fault> {
        sql_query(format!(
            "WITH hold AS MATERIALIZED ({HOLD}) \
             SELECT pg_catalog.pg_terminate_backend(pid, {}) AS ended FROM hold \
             WHERE pid = $3 AND began IS NOT DISTINCT FROM $4 AND locked_by = $5",
            ENDING.as_millis()
        ))
        .bind::<Text, _>(name)
        .bind::<Nullable<BigInt>, _>(Some(ticket))
        .bind::<Nullable<Integer>, _>(self.pid)
        .bind::<Nullable<Text>, _>(&self.began)
        .bind::<Text, _>(&self.locked_by)
        .get_result(conn)
        .optional()
        .map_err(|error| {
            Fault::new(format_args!(
                "the session can't be ended: {error} (it takes the same role, or membership in pg_signal_backend)"
            ))
        })
    }
}
