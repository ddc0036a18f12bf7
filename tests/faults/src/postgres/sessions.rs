//! Sessions of workers, as `pg_stat_activity` shows them.

use crate::{
    fleet::{Member, Name},
    session::{Doing, Session},
};
use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    sql_types::{Integer, Text},
};

const HOLDS: &str = "state = 'idle in transaction' AND backend_xid IS NOT NULL";
const WAITS: &str = "state = 'active' AND wait_event_type = 'Lock'";

pub(super) fn of_workers(
    conn: &mut PgConnection,
    doing: Doing,
    present: &[Member],
) -> Vec<Session> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Integer)]
        pid: i32,
        #[diesel(sql_type = Text)]
        application: String,
        /// Of its transaction, if it has written something, or locked a row; and when the transaction began.
        #[diesel(sql_type = Text)]
        transaction: String,
    }
    let which = match doing {
        Doing::Holds => HOLDS.to_owned(),
        Doing::Waits => WAITS.to_owned(),
        Doing::Either => format!("{HOLDS} OR {WAITS}"),
    };
    let found: Vec<Found> = diesel::sql_query(format!(
        "SELECT pid, application_name AS application, concat(backend_xid, ' ', xact_start) AS transaction \
         FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name ~ '^w[0-9]+[.]' AND ({which}) \
         ORDER BY application_name"
    ))
    .load(conn)
    .unwrap_or_default();
    let session = |found: Found| {
        let name = Name::of_application(&found.application)?;
        present
            .iter()
            .any(|member| member.name == name)
            .then_some(Session {
                pid: found.pid,
                name,
                transaction: found.transaction,
            })
    };
    found.into_iter().filter_map(session).collect()
}

pub(super) fn is_there(conn: &mut PgConnection, session: &Session) -> Option<bool> {
    #[derive(QueryableByName)]
    struct Same {
        #[diesel(sql_type = Text)]
        transaction: String,
    }
    let same: Vec<Same> = diesel::sql_query(
        "SELECT concat(backend_xid, ' ', xact_start) AS transaction FROM pg_stat_get_activity($1)",
    )
    .bind::<Integer, _>(session.pid)
    .load(conn)
    .ok()?;
    Some(
        same.iter()
            .any(|same| same.transaction == session.transaction),
    )
}
