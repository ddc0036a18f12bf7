//! Breaks the library on purpose, in its functions on the server: a suite that finds nothing then is worth nothing.

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection, sql_types::Text,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Sabotage {
    NoHostTimeout,
    IdleTimeoutsLeftAlone,
    TicketsUpdated,
    TurnstileKept,
    TokensFromSequence,
    Overtaking,
}

impl Sabotage {
    /// What `SABOTAGE=` says.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "no-host-timeout" => Self::NoHostTimeout,
            "idle-timeouts-left-alone" => Self::IdleTimeoutsLeftAlone,
            "tickets-updated" => Self::TicketsUpdated,
            "turnstile-kept" => Self::TurnstileKept,
            "tokens-from-sequence" => Self::TokensFromSequence,
            "overtaking" => Self::Overtaking,
            _ => return None,
        })
    }

    pub(crate) fn commit(self, conn: &mut PgConnection) {
        match self {
            Self::NoHostTimeout => change(conn, "keep", &[("set_config('tcp_", "concat('tcp_")]),
            Self::IdleTimeoutsLeftAlone => change(
                conn,
                "keep",
                &[(
                    "set_config('idle_in_transaction_session_timeout'",
                    "concat('idle_in_transaction_session_timeout'",
                )],
            ),
            Self::TicketsUpdated => {
                let update = "UPDATE dbsemaphore.ticket t SET slot = t.slot WHERE t.id = ";
                change(
                    conn,
                    "acquire_one",
                    &[(
                        "IF ticket IS NULL THEN",
                        &format!("{update} ticket; IF ticket IS NULL THEN"),
                    )],
                );
                change(
                    conn,
                    "lock_free",
                    &[(
                        "RETURN taken;",
                        &format!("{update} ANY (taken); RETURN taken;"),
                    )],
                );
            }
            // All ways out but that of a cancel leave properly.
            Self::TurnstileKept => {
                let leave = definition(conn, "leave");
                let kept = leave.replace("dbsemaphore.leave()", "dbsemaphore.leave_properly()");
                conn.batch_execute(&kept).expect("a copy of leave");
                change(
                    conn,
                    "stand_in_line",
                    &[
                        (
                            "PERFORM dbsemaphore.leave();",
                            "PERFORM dbsemaphore.leave_properly();",
                        ),
                        (
                            "WHEN query_canceled THEN\n                PERFORM dbsemaphore.leave_properly();",
                            "WHEN query_canceled THEN",
                        ),
                    ],
                );
                change(conn, "leave", &[("LOOP\n", "RETURN; LOOP\n")]);
            }
            Self::TokensFromSequence => {
                conn.batch_execute("CREATE SEQUENCE dbsemaphore.tokens")
                    .expect("a sequence");
                change(
                    conn,
                    "fencing_token",
                    &[("RETURN (", "RETURN nextval('dbsemaphore.tokens') + 0 * (")],
                );
            }
            Self::Overtaking => change(conn, "is_barred", &[("RETURN ", "RETURN false AND ")]),
        }
    }
}

/// Replaces these texts in a function of the library's, each of which has to be there.
fn change(conn: &mut PgConnection, function: &str, changes: &[(&str, &str)]) {
    let mut text = definition(conn, function);
    for (from, to) in changes {
        assert!(text.contains(from), "{function} has no {from:?}");
        text = text.replace(from, to);
    }
    conn.batch_execute(&text).expect("the changed function");
}

fn definition(conn: &mut PgConnection, function: &str) -> String {
    #[derive(QueryableByName)]
    struct Definition {
        #[diesel(sql_type = Text)]
        text: String,
    }
    diesel::sql_query(
        "SELECT pg_get_functiondef(oid) AS text FROM pg_proc \
         WHERE pronamespace = 'dbsemaphore'::regnamespace AND proname = $1",
    )
    .bind::<Text, _>(function)
    .get_result::<Definition>(conn)
    .expect("a function of the library's")
    .text
}
