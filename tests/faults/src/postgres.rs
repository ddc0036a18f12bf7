//! PostgreSQL: a server, with a pooler, whose standby may take over.

mod faults;
mod look;
mod sabotage;
mod server;
mod sessions;

#[cfg(test)]
pub(crate) use look::{LOOK, rearranged};

use crate::{
    arena::{Place, SEMAPHORES, Urls},
    backend::Backend,
    fault::{Fault, Target},
    fleet::Member,
    inject::Injector,
    kind::Kind,
    session::{Doing, Session},
    witness::Row,
    worker::HOST_TIMEOUT,
};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl, connection::SimpleConnection, sql_types::Integer,
};
use diesel_dbsemaphore as sem;
use rand::rngs::SmallRng;
use sabotage::Sabotage;
use server::{pooler, versions};
use stand::{Bouncer, Cable, Database, Server, Stop};
use std::time::Duration;

pub(crate) struct Postgres {
    // Before the servers, whose databases these are.
    bouncer: Bouncer,
    server: Server,
    database: Database,
    /// Of the tickets that nobody resizes, when they were made.
    versions: String,
    /// What servers that are gone wrote about that.
    rearranged: Vec<String>,
}

impl Backend for Postgres {
    type Connection = PgConnection;

    const WORD: &'static str = "postgres";
    const TITLES: &'static [(Kind, &'static str)] = &[];
    const PLACES: &'static [Place] = &{
        let mut places = [Place::Here; 12];
        places[9] = Place::BehindPooler;
        places[10] = Place::BehindPooler;
        places[11] = Place::BehindPooler;
        places
    };
    const SERVER_PAUSES: u32 = 1;
    const LOOKS_ARE_ATOMIC: bool = true;
    const CUT_OFF: Option<Duration> = Some(Duration::from_secs(5 + HOST_TIMEOUT.as_secs()));

    fn idle_limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }

    fn open(sabotage: Option<&str>) -> Self {
        let server = Server::start_with(&[
            "listen_addresses=*",
            "fsync=off",
            "synchronous_commit=off",
            // A copy of the server is quickly made.
            "max_wal_size=64MB",
            "min_wal_size=32MB",
            "wal_keep_size=32MB",
            "wal_receiver_timeout=5s",
            // For so long, a server that is restarted waits for a client that has connected and says nothing: behind a link
            // that is down, say.
            "authentication_timeout=5s",
            "wal_retrieve_retry_interval=100ms",
            // It says then, too, that it rearranged a queue.
            "log_lock_waits=on",
            // With it on, the library looks after the clients of waiters only each minute, unless this is set.
            "client_connection_check_interval=1s",
        ]);
        let database = server.create_database();
        let mut conn = database.connect();
        // What is made here is not to be lost in the first crash.
        conn.batch_execute("SET synchronous_commit = on").unwrap();
        sem::run_migrations(&mut conn).unwrap();
        for (name, tickets) in SEMAPHORES {
            sem::make(&mut conn, name, tickets).unwrap();
        }
        if let Some(sabotage) = sabotage {
            Sabotage::named(sabotage)
                .expect("a sabotage of that name")
                .commit(&mut conn);
        }
        let versions = versions(&mut conn);
        let bouncer = pooler(&server);
        Self {
            bouncer,
            server,
            database,
            versions,
            rearranged: Vec::new(),
        }
    }

    fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::StopServer => false,
            Kind::TransactionTimeout => self.as_operator("SHOW transaction_timeout").is_some(),
            _ => true,
        }
    }

    fn urls(&self) -> Urls {
        Urls {
            direct: self.url(),
            pooled: self.bouncer.url(self.database.name()),
            // Its own end finds out as late as the server does.
            afar: [0, 1].map(|number| {
                format!(
                    "postgres://postgres@{}:{}/{}?connect_timeout=2&tcp_user_timeout=3000\
                     &keepalives_idle=1&keepalives_interval=1&keepalives_count=2",
                    Cable::address(number),
                    self.server.port(),
                    self.database.name()
                )
            }),
            ..Urls::default()
        }
    }

    fn url(&self) -> String {
        self.database.url_on(&self.server)
    }

    fn restart(&mut self, how: Stop) {
        self.server.restart(how);
    }

    fn allow_connections(&self, allow: bool) -> Option<()> {
        self.as_operator(&format!(
            "ALTER DATABASE {} ALLOW_CONNECTIONS {allow}",
            self.database.name()
        ))
    }

    fn session_id(conn: &mut PgConnection) -> QueryResult<i32> {
        diesel::select(diesel::dsl::sql::<Integer>("pg_backend_pid()")).get_result(conn)
    }

    fn sessions(conn: &mut PgConnection, doing: Doing, present: &[Member]) -> Vec<Session> {
        sessions::of_workers(conn, doing, present)
    }

    fn is_there(conn: &mut PgConnection, session: &Session) -> Option<bool> {
        sessions::is_there(conn, session)
    }

    fn is_stopped(session: i64) -> bool {
        sessions::state(session) == Some('T')
    }

    fn describe(session: i64) -> String {
        sessions::describe(session)
    }

    fn end_session(conn: &mut PgConnection, session: &Session) -> QueryResult<()> {
        conn.batch_execute(&format!("SELECT pg_terminate_backend({})", session.pid))
    }

    /// The pauses are about as long as the server needs to handle a cancellation. `pg_sleep` can't be so short.
    fn cancel_statement(
        conn: &mut PgConnection,
        session: &Session,
        times: usize,
    ) -> QueryResult<()> {
        conn.batch_execute(&format!(
            "DO $$ DECLARE until timestamptz; BEGIN \
                 FOR i IN 1..{times} LOOP \
                     PERFORM pg_cancel_backend({}); \
                     until := clock_timestamp() + random() * interval '0.2 ms'; \
                     WHILE clock_timestamp() < until LOOP END LOOP; \
                 END LOOP; \
             END $$",
            session.pid
        ))
    }

    fn limit_resize(conn: &mut PgConnection) -> QueryResult<()> {
        conn.batch_execute("SET lock_timeout = '2s'")
    }

    fn inject(injector: &Injector<'_, Self>, kind: Kind, random: &mut SmallRng) -> Option<()> {
        match kind {
            Kind::FailOver => injector.change_server(kind, |arena| arena.fail_over(injector)),
            Kind::RestartPooler => {
                let arena = &mut injector.arena.write().unwrap();
                let fault = Fault::begin(kind, Target::BehindPooler);
                arena.bouncer.restart();
                injector.note(fault);
                Some(())
            }
            Kind::KillBackend => faults::kill_backend(injector, random),
            Kind::StopBackend => faults::stop_backend(injector, random),
            Kind::IdleTimeout => {
                faults::set(injector, kind, "idle_in_transaction_session_timeout", 30)
            }
            Kind::TransactionTimeout => faults::set(injector, kind, "transaction_timeout", 30),
            Kind::StatementTimeout => faults::set(injector, kind, "statement_timeout", 20),
            Kind::LockTimeout => faults::set(injector, kind, "lock_timeout", 10),
            _ => unreachable!("not PostgreSQL's own"),
        }
    }

    fn look(conn: &mut PgConnection) -> QueryResult<Vec<Row>> {
        diesel::sql_query(look::LOOK).load(conn)
    }

    fn leftovers(conn: &mut PgConnection) -> QueryResult<Vec<(&'static str, i64)>> {
        look::leftovers(conn)
    }

    fn violations(&self) -> Vec<String> {
        let mut found = self.rearranged();
        if self.has_new_versions() != Some(false) {
            found.push("tickets were written by holding them".to_owned());
        }
        found
    }
}
