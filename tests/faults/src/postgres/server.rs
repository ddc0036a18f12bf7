//! The server: its settings, its log, its standby.

use super::{Postgres, look};
use crate::{backend::Backend, inject::Injector};
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection,
    sql_types::Text,
};
use stand::{Bouncer, Server, Stop};

impl Postgres {
    /// Whether holding a ticket has made a new version of its row. None while the server is down.
    pub(super) fn has_new_versions(&self) -> Option<bool> {
        Some(self.versions != versions(&mut self.connect()?))
    }

    /// When PostgreSQL has rearranged a queue: nothing here gives it a reason to.
    pub(super) fn rearranged(&self) -> Vec<String> {
        let now = look::rearranged(&self.server.log());
        self.rearranged.iter().cloned().chain(now).collect()
    }

    /// `SET name = value` or `RESET name`, for all sessions. None if that fails.
    pub(super) fn configure(&self, change: &str) -> Option<()> {
        self.as_operator(&format!("ALTER SYSTEM {change}"))?;
        self.as_operator("SELECT pg_reload_conf()")
    }

    /// From outside of the database that everything happens in.
    pub(super) fn as_operator(&self, statement: &str) -> Option<()> {
        let mut conn = PgConnection::establish(&self.server.url()).ok()?;
        // What it changes is not to be lost in the next crash.
        conn.batch_execute(
            "SET statement_timeout = 0; SET lock_timeout = 0; SET synchronous_commit = on",
        )
        .and_then(|()| conn.batch_execute(statement))
        .ok()
    }

    /// Kills the server, while a standby follows it, and promotes that.
    pub(super) fn fail_over(&mut self, injector: &Injector<'_, Self>) {
        let standby = self.server.start_standby();
        self.server.stop(Stop::Kill);
        self.rearranged = self.rearranged();
        standby.promote();
        self.server = standby;
        self.bouncer = pooler(&self.server);
        self.urls().publish(injector.folder);
    }
}

/// Which version of each ticket's row there is: a commit by one who has written to it leaves another one.
pub(super) fn versions(conn: &mut PgConnection) -> String {
    #[derive(QueryableByName)]
    struct Versions {
        #[diesel(sql_type = Text)]
        versions: String,
    }
    diesel::sql_query(
        "SELECT string_agg(concat_ws(' ', t.id, t.ctid, t.xmin), ', ' ORDER BY t.id) AS versions \
         FROM dbsemaphore.ticket t JOIN dbsemaphore.semaphore s ON s.id = t.semaphore_id WHERE s.name <> 'many'",
    )
    .get_result::<Versions>(conn)
    .unwrap()
    .versions
}

pub(super) fn pooler(server: &Server) -> Bouncer {
    Bouncer::start(
        server,
        &["server_login_retry = 0.1", "query_wait_timeout = 5"],
    )
}
