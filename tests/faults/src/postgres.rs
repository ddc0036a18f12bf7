//! PostgreSQL: a server, with a pooler, whose standby may take over.

mod look;
mod sabotage;

#[cfg(test)]
pub(crate) use look::{LOOK, rearranged};

use crate::{
    arena::{Place, SEMAPHORES, Urls, until_up},
    backend::Backend,
    fleet::{Member, Name},
    inject::{AT_ONCE, Fault, Injector, LONG, Stopped, Target, is_near, signal, undo},
    kind::Kind,
    log::now,
    session::{Doing, Session},
    witness::Row,
    worker::HOST_TIMEOUT,
};
use diesel::{
    Connection, PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_types::{BigInt, Integer, Text},
};
use diesel_dbsemaphore as sem;
use nix::sys::signal::Signal;
use rand::rngs::SmallRng;
use sabotage::Sabotage;
use stand::{Bouncer, Cable, Database, Server, Stop};
use std::{thread, time::Duration};

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

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

const HOLDS: &str = "state = 'idle in transaction' AND backend_xid IS NOT NULL";
const WAITS: &str = "state = 'active' AND wait_event_type = 'Lock'";

impl Backend for Postgres {
    type Connection = PgConnection;

    const WORD: &'static str = "postgres";
    const TITLES: &'static [(Kind, &'static str)] = &[];
    const PLACES: [Place; 12] = {
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

    fn is_there(conn: &mut PgConnection, session: &Session) -> Option<bool> {
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

    fn is_stopped(session: &Session) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", session.pid))
            .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('T')))
    }

    fn end_session(conn: &mut PgConnection, session: &Session) -> QueryResult<()> {
        conn.batch_execute(&format!("SELECT pg_terminate_backend({})", session.pid))
    }

    fn cancel_statement(conn: &mut PgConnection, session: &Session) -> QueryResult<()> {
        conn.batch_execute(&format!("SELECT pg_cancel_backend({})", session.pid))
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
            Kind::KillBackend => kill_backend(injector, random),
            Kind::StopBackend => {
                let holder =
                    injector.choose(&mut injector.connect()?, Doing::Holds, is_near, random)?;
                // Whom a stopped backend keeps from going on is up to chance.
                let fault = Fault::begin(kind, Target::All);
                let stopped = Stopped::new(holder.pid);
                thread::sleep(LONG);
                drop(stopped);
                injector.note(fault);
                Some(())
            }
            Kind::IdleTimeout => set(injector, kind, "idle_in_transaction_session_timeout", 30),
            Kind::TransactionTimeout => set(injector, kind, "transaction_timeout", 30),
            Kind::StatementTimeout => set(injector, kind, "statement_timeout", 20),
            Kind::LockTimeout => set(injector, kind, "lock_timeout", 10),
            _ => unreachable!("not PostgreSQL's own"),
        }
    }

    fn look(conn: &mut PgConnection) -> QueryResult<Vec<Row>> {
        diesel::sql_query(look::LOOK).load(conn)
    }

    fn leftovers(conn: &mut PgConnection) -> QueryResult<Vec<(&'static str, i64)>> {
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

    fn violations(&self) -> Vec<String> {
        let mut found = self.rearranged();
        if self.has_new_versions() != Some(false) {
            found.push("tickets were written by holding them".to_owned());
        }
        found
    }
}

impl Postgres {
    /// Whether holding a ticket has made a new version of its row. None while the server is down.
    pub(crate) fn has_new_versions(&self) -> Option<bool> {
        Some(self.versions != versions(&mut self.connect()?))
    }

    /// When PostgreSQL has rearranged a queue: nothing here gives it a reason to.
    pub(crate) fn rearranged(&self) -> Vec<String> {
        let now = look::rearranged(&self.server.log());
        self.rearranged.iter().cloned().chain(now).collect()
    }

    /// `SET name = value` or `RESET name`, for all sessions. None if that fails.
    pub(crate) fn configure(&self, change: &str) -> Option<()> {
        self.as_operator(&format!("ALTER SYSTEM {change}"))?;
        self.as_operator("SELECT pg_reload_conf()")
    }

    /// From outside of the database that everything happens in.
    fn as_operator(&self, statement: &str) -> Option<()> {
        let mut conn = PgConnection::establish(&self.server.url()).ok()?;
        // What it changes is not to be lost in the next crash.
        conn.batch_execute(
            "SET statement_timeout = 0; SET lock_timeout = 0; SET synchronous_commit = on",
        )
        .and_then(|()| conn.batch_execute(statement))
        .ok()
    }

    /// Kills the server, while a standby follows it, and promotes that.
    fn fail_over(&mut self, injector: &Injector<'_, Self>) {
        let standby = self.server.start_standby();
        self.server.stop(Stop::Kill);
        self.rearranged = self.rearranged();
        standby.promote();
        self.server = standby;
        self.bouncer = pooler(&self.server);
        self.urls().publish(injector.folder);
    }
}

fn kill_backend(injector: &Injector<'_, Postgres>, random: &mut SmallRng) -> Option<()> {
    let arena = &mut *injector.arena.write().unwrap();
    let holder = injector.choose(&mut arena.connect()?, Doing::Holds, is_near, random)?;
    let mut fault = Fault::begin(Kind::KillBackend, Target::All);
    signal(holder.pid, Signal::SIGKILL);
    // The postmaster ends all sessions, and recovers.
    let up = now() + AT_ONCE;
    while now() < up
        && arena
            .connect()
            .is_some_and(|mut conn| Postgres::is_there(&mut conn, &holder) != Some(false))
    {
        thread::sleep(Duration::from_millis(1));
    }
    drop(until_up::<PgConnection>(&arena.url()));
    fault.free_after = Some(now() - fault.at);
    injector.note(fault);
    Some(())
}

/// A setting of the whole server's, for a moment.
fn set(
    injector: &Injector<'_, Postgres>,
    kind: Kind,
    setting: &str,
    milliseconds: u32,
) -> Option<()> {
    let arena = injector.arena.read().unwrap();
    let fault = Fault::begin(kind, Target::LowLevel);
    arena.configure(&format!("SET {setting} = {milliseconds}"))?;
    thread::sleep(Duration::from_millis(120));
    undo(&fault, || arena.configure(&format!("RESET {setting}")));
    thread::sleep(Duration::from_millis(20));
    injector.note(fault);
    Some(())
}

/// Which version of each ticket's row there is: a commit by one who has written to it leaves another one.
fn versions(conn: &mut PgConnection) -> String {
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

fn pooler(server: &Server) -> Bouncer {
    Bouncer::start(
        server,
        &["server_login_retry = 0.1", "query_wait_timeout = 5"],
    )
}
