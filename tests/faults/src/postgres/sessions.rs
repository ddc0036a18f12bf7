//! Sessions of workers, as `pg_stat_activity` and the system show them.

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

/// The state of a process, as `ps` abbreviates it.
pub(super) fn state(pid: i64) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// The state of its process, the function of the kernel in which it sleeps, and its title. Before it, those of each
/// process of PostgreSQL that a signal has stopped.
pub(super) fn describe(session: i64) -> String {
    let about = |pid: i64| {
        let read = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let title = read("cmdline")?.replace('\0', " ");
        let sleeps_in = read("wchan").unwrap_or_default();
        let state = state(pid)?;
        Some(format!(
            "\n    {pid} {state} {sleeps_in}: {}",
            title.trim_end()
        ))
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != session && state(pid) == Some('T'))
        .chain([session])
        .filter_map(about)
        .filter(|line| line.contains("postgres"))
        .collect()
}
