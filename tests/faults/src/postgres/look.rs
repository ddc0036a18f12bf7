//! What the witness asks PostgreSQL, and what is asked at the end.

use diesel::{PgConnection, QueryResult, QueryableByName, RunQueryDsl, sql_types::BigInt};

/// One row for each session that stands in a line, and one for each semaphore. Order is judged by what `pg_locks` says alone,
/// which is of one time: `pg_stat_activity` is read earlier or later, and may lack a session, or show its former call.
pub(crate) const LOOK: &str = "\
    SELECT s.id AS semaphore, s.name AS name, NULL::bigint AS pid, false AS granted, false AS bars, false AS idle, NULL AS call, \
        NULL AS wait, \
        count(*) AS tickets, count(*) FILTER (WHERE t.xmax <> 0 AND pg_xact_status( \
            ((pg_snapshot_xmax(pg_current_snapshot())::text::bigint >> 32 << 32) | t.xmax::text::bigint)::text::xid8 \
        ) = 'in progress') AS held \
    FROM dbsemaphore.semaphore s JOIN dbsemaphore.ticket t ON t.semaphore_id = s.id GROUP BY s.id, s.name \
    UNION ALL \
    SELECT l.objid::bigint, NULL, l.pid, l.granted, l.classid = x'6462736f'::integer, coalesce(a.state LIKE 'idle%', false), \
        concat_ws(' ', a.query_start, a.application_name, a.state), l.virtualtransaction || ' ' || l.waitstart, 0, 0 \
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
    WHERE l.locktype = 'advisory' AND l.classid IN (x'64627371'::integer, x'6462736f'::integer) \
      AND l.mode = 'ExclusiveLock' \
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())";

/// The lines of a server's log, with `log_lock_waits` on, that say that it rearranged a queue. It does so to resolve some
/// deadlocks, and then somebody overtakes: see "Limits" in docs/guide/waiting.md.
pub(crate) fn rearranged(log: &str) -> Vec<String> {
    let lines = log.lines();
    let lines = lines.filter(|line| line.contains("by rearranging queue order"));
    lines
        .map(|line| format!("PostgreSQL rearranged a queue: {line}"))
        .collect()
}

/// How much is still held or locked, by what it is.
pub(super) fn leftovers(conn: &mut PgConnection) -> QueryResult<Vec<(&'static str, i64)>> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let questions = [
        (
            "tickets leaked",
            "SELECT (SELECT count(*) FROM dbsemaphore.ticket) \
             - (SELECT count(*) FROM (SELECT FROM dbsemaphore.ticket FOR UPDATE SKIP LOCKED) AS free) AS count",
        ),
        (
            "locks left behind",
            "SELECT count(*) AS count FROM pg_locks WHERE pid <> pg_backend_pid() \
             AND (locktype = 'advisory' OR relation IN ('dbsemaphore.ticket'::regclass, 'dbsemaphore.semaphore'::regclass))",
        ),
    ];
    let answers = questions.map(|(what, sql)| {
        let answer: Count = diesel::sql_query(sql).get_result(conn)?;
        Ok((what, answer.count))
    });
    answers.into_iter().collect()
}
