//! Workers' sessions, as the server shows them.

use crate::fleet::Name;
use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    result::QueryResult,
    sql_types::{Integer, Text},
};

#[derive(QueryableByName)]
pub(crate) struct Session {
    #[diesel(sql_type = Integer)]
    pub(crate) pid: i32,
    #[diesel(sql_type = Text)]
    application: String,
    /// Of its transaction, if it has written something, or locked a row; and when the transaction began.
    #[diesel(sql_type = Text)]
    transaction: String,
}

pub(crate) const HOLDS: &str = "state = 'idle in transaction' AND backend_xid IS NOT NULL";
pub(crate) const WAITS: &str = "state = 'active' AND wait_event_type = 'Lock'";

impl Session {
    /// In an order that depends on nothing else.
    pub(crate) fn all(conn: &mut PgConnection, which: &str) -> Vec<Self> {
        diesel::sql_query(format!(
            "SELECT pid, application_name AS application, concat(backend_xid, ' ', xact_start) AS transaction \
             FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name ~ '^w[0-9]+[.]' AND ({which}) \
             ORDER BY application_name"
        ))
        .load(conn)
        .unwrap_or_default()
    }

    pub(crate) fn name(&self) -> Option<Name> {
        let (worker, life) = self.application.strip_prefix('w')?.split_once('.')?;
        Some(Name {
            worker: worker.parse().ok()?,
            life: life.parse().ok()?,
        })
    }

    /// Whether its transaction still is. None if the server didn't answer.
    pub(crate) fn is_there(&self, conn: &mut PgConnection) -> Option<bool> {
        #[derive(QueryableByName)]
        struct Same {
            #[diesel(sql_type = Text)]
            transaction: String,
        }
        let same: Vec<Same> = diesel::sql_query(
            "SELECT concat(backend_xid, ' ', xact_start) AS transaction FROM pg_stat_get_activity($1)",
        )
        .bind::<Integer, _>(self.pid)
        .load(conn)
        .ok()?;
        Some(same.iter().any(|same| same.transaction == self.transaction))
    }

    /// What it does, for a report.
    pub(crate) fn activity(&self, conn: &mut PgConnection) -> String {
        #[derive(QueryableByName)]
        struct Activity {
            #[diesel(sql_type = Text)]
            activity: String,
        }
        let activity: QueryResult<Activity> = diesel::sql_query(
            "SELECT concat_ws(' ', state, now() - state_change, wait_event_type, wait_event, \
                 (SELECT string_agg(concat_ws(' ', locktype, classid, objid, mode, granted), ', ') \
                  FROM pg_locks AS l WHERE l.pid = a.pid), pg_blocking_pids(pid), query) AS activity \
             FROM pg_stat_activity AS a WHERE pid = $1",
        )
        .bind::<Integer, _>(self.pid)
        .get_result(conn);
        activity.map_or_else(|error| error.to_string(), |activity| activity.activity)
    }

    /// By a signal.
    pub(crate) fn is_stopped(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('T')))
    }
}
