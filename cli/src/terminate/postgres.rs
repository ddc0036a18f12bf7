//! Ends the session of PostgreSQL that holds a ticket.

use super::{confirmed, not_held};
use crate::{fault::Fault, output};
use diesel::{
    PgConnection,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Bool, Integer, Nullable, Text},
};
use diesel_dbsemaphore as sem;

/// Selects the holder of ticket $2 of semaphore $1. A process id can belong to another session later, and a pooler's
/// session to another client. The start of the session and the transaction that has locked the row distinguish them.
const HOLD: &str = "SELECT h.pid, extract(epoch FROM a.backend_start)::text AS began, t.xmax::text AS locked_by \
     FROM dbsemaphore.holders($1) AS h \
         JOIN dbsemaphore.ticket AS t ON t.id = h.ticket_id \
         LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = h.pid \
     WHERE h.ticket_id = $2";

#[derive(QueryableByName)]
struct Hold {
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

pub(super) fn terminate(
    conn: &mut PgConnection,
    name: &str,
    ticket: i64,
    yes: bool,
) -> Result<(), Fault> {
    let hold = hold(conn, name, ticket)?;
    let holder = sem::holders(conn, name)?
        .into_iter()
        .find(|holder| holder.ticket == ticket);
    let (Some(hold), Some(holder)) = (hold, holder) else {
        return Err(not_held(name, ticket));
    };
    let Some(pid) = hold.pid else {
        return Err(match holder.prepared_transaction {
            Some(name) => Fault::new(format_args!(
                "no session holds ticket {ticket}, but the prepared transaction {name:?}: end it with ROLLBACK PREPARED or \
                 COMMIT PREPARED"
            )),
            None => Fault::new(format_args!(
                "the session that holds ticket {ticket} can't be found: it was locked by other means than this library's"
            )),
        });
    };
    if holder.session.pid != hold.pid {
        return Err(not_held(name, ticket));
    }
    if !yes && !confirmed(name, &holder)? {
        return Err(Fault::new("nothing was done"));
    }
    // Another session may hold the ticket after the question was answered.
    match end(conn, name, ticket, &hold)? {
        None => Err(not_held(name, ticket)),
        Some(Terminated { ended: false }) => Err(Fault::new(format_args!(
            "session {pid} has not ended within 5 s"
        ))),
        Some(Terminated { ended: true }) => {
            let after = self::hold(conn, name, ticket)?;
            if after.is_some_and(|after| after.locked_by == hold.locked_by) {
                return Err(Fault::new(format_args!(
                    "session {pid} has ended, but ticket {ticket} of {name:?} is still held: `dbsemaphore show` shows by \
                     whom"
                )));
            }
            output::print(&format!(
                "session {pid} has ended, ticket {ticket} of {name:?} is released\n"
            ))
            .map_err(Fault::output)
        }
    }
}

fn hold(conn: &mut PgConnection, name: &str, ticket: i64) -> QueryResult<Option<Hold>> {
    sql_query(HOLD)
        .bind::<Text, _>(name)
        .bind::<BigInt, _>(ticket)
        .get_result(conn)
        .optional()
}

/// Ends the session if it still holds the ticket in the same transaction. Otherwise returns `None`.
fn end(
    conn: &mut PgConnection,
    name: &str,
    ticket: i64,
    hold: &Hold,
) -> Result<Option<Terminated>, Fault> {
    sql_query(format!(
        "WITH hold AS MATERIALIZED ({HOLD}) \
         SELECT pg_catalog.pg_terminate_backend(pid, 5000) AS ended FROM hold \
         WHERE pid = $3 AND began IS NOT DISTINCT FROM $4 AND locked_by = $5"
    ))
    .bind::<Text, _>(name)
    .bind::<BigInt, _>(ticket)
    .bind::<Nullable<Integer>, _>(hold.pid)
    .bind::<Nullable<Text>, _>(&hold.began)
    .bind::<Text, _>(&hold.locked_by)
    .get_result(conn)
    .optional()
    .map_err(|error| {
        Fault::new(format_args!(
            "the session can't be ended: {error} (it takes the same role, or membership in pg_signal_backend)"
        ))
    })
}
