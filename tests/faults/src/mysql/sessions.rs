//! Sessions of workers, as the performance schema shows them.

use super::Count;
use crate::{
    fleet::Member,
    session::{Doing, Session},
};
use diesel::{MysqlConnection, QueryableByName, RunQueryDsl, sql_types::BigInt};

/// The server's thread of a session, whose client told its process id when it connected.
const SESSIONS: &str = "SELECT CAST(t.processlist_id AS signed) AS pid, CAST(a.attr_value AS signed) AS process \
     FROM performance_schema.threads AS t \
     JOIN performance_schema.session_connect_attrs AS a ON a.processlist_id = t.processlist_id AND a.attr_name = '_pid'";

/// The session has said that it waits.
const WAITS: &str = "EXISTS (SELECT 1 FROM performance_schema.metadata_locks AS l \
     WHERE l.owner_thread_id = t.thread_id AND l.object_name LIKE 'dbsemaphore.w.%')";

const HOLDS: &str = "t.processlist_command = 'Sleep' AND EXISTS (SELECT 1 FROM information_schema.innodb_trx AS x \
     WHERE x.trx_mysql_thread_id = t.processlist_id AND x.trx_rows_locked > 0)";

pub(super) fn of_workers(
    conn: &mut MysqlConnection,
    doing: Doing,
    present: &[Member],
) -> Vec<Session> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        pid: i64,
        #[diesel(sql_type = BigInt)]
        process: i64,
    }
    let which = match doing {
        Doing::Holds => format!("{HOLDS} AND NOT {WAITS}"),
        Doing::Waits => WAITS.to_owned(),
        Doing::Either => format!("({HOLDS}) OR {WAITS}"),
    };
    let found: Vec<Found> = diesel::sql_query(format!("{SESSIONS} WHERE {which} ORDER BY pid"))
        .load(conn)
        .unwrap_or_default();
    let session = |found: Found| {
        let member = present
            .iter()
            .find(|member| i64::from(member.process) == found.process)?;
        Some(Session {
            pid: found.pid.try_into().ok()?,
            name: member.name,
            transaction: found.process.to_string(),
        })
    };
    let mut sessions: Vec<Session> = found.into_iter().filter_map(session).collect();
    sessions.sort_by_key(|session| session.name);
    sessions
}

/// A session ends after its transaction. Another one may have its number after a restart, but not its client.
pub(super) fn is_there(conn: &mut MysqlConnection, session: &Session) -> Option<bool> {
    let same = format!(
        "SELECT COUNT(*) AS count FROM ({SESSIONS}) AS s WHERE s.pid = {} AND s.process = {}",
        session.pid, session.transaction
    );
    let same: Count = diesel::sql_query(same).get_result(conn).ok()?;
    Some(same.count > 0)
}
