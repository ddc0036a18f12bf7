//! MySQL and MariaDB: one server, whose sessions are threads, and whose clients drive the queue.

mod look;
mod sessions;

use crate::{
    arena::{Place, SEMAPHORES, Urls},
    backend::Backend,
    fault::{Fault, Target},
    fleet::Member,
    inject::{Injector, LONG},
    kind::Kind,
    session::{Doing, Session},
    witness::Row,
};
use diesel::{
    MysqlConnection, QueryResult, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_types::{BigInt, Integer},
};
use diesel_dbsemaphore as sem;
use rand::rngs::SmallRng;
use stand::{
    Cable, Stop,
    mysql::{Database, Server},
};
use std::{thread, time::Duration};

pub(crate) struct Mysql {
    server: Server,
    database: Database,
    /// Of the workers. It has the rights of a holder, and no others.
    account: String,
    has_data_locks: bool,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl Backend for Mysql {
    type Connection = MysqlConnection;

    const WORD: &'static str = "mysql";
    const TITLES: &'static [(Kind, &'static str)] = &[
        (Kind::TerminateHolder, "KILL of a holder"),
        (Kind::TerminateWaiter, "KILL of a waiter"),
        (Kind::CancelHolder, "KILL QUERY of a holder"),
        (Kind::CancelWaiter, "KILL QUERY of a waiter, 1 to 3 times"),
        (Kind::KillPostmaster, "kill -9 of the server"),
        (Kind::RestartFast, "server restarted"),
        (Kind::IdleTimeout, "idle timeouts of 1 s, all the time"),
    ];
    const PLACES: &'static [Place] = &[Place::Here; 14];
    const SERVER_PAUSES: u32 = 6;
    const LOOKS_ARE_ATOMIC: bool = false;
    /// A guard that is watched bounds it; others have the system's keepalive.
    const CUT_OFF: Option<Duration> = None;

    /// The client drives the queue: while the head or its host is stopped, nobody else is the head. MariaDB does not show row locks.
    fn idle_limit(&self) -> Option<Duration> {
        self.has_data_locks.then_some(LONG * 3)
    }

    fn open(sabotage: Option<&str>) -> Self {
        assert_eq!(
            sabotage, None,
            "scripts/sabotages breaks a copy of the library"
        );
        let server = Server::start_with(&[
            "bind_address=*",
            "innodb_flush_log_at_trx_commit=0",
            "innodb_doublewrite=0",
            "skip_log_bin=1",
            // A user lock is a metadata lock to it.
            "performance_schema=1",
            "performance_schema_instrument=wait/lock/metadata/sql/mdl=ON",
            // Guards outlast them. Sessions in a transaction of their own don't.
            "wait_timeout=1",
            "loose_idle_transaction_timeout=1",
            "loose_max_statement_time=2",
            "loose_max_execution_time=2000",
            "innodb_lock_wait_timeout=1",
        ]);
        let mut database = server.create_database();
        let mut conn = database.connect();
        sem::run_migrations(&mut conn).unwrap();
        for (name, tickets) in SEMAPHORES {
            sem::make(&mut conn, name, tickets).unwrap();
        }
        let account = database.create_role("worker");
        let name = database.name();
        for (rights, table) in [
            ("SELECT", "semaphore"),
            ("SELECT, UPDATE (acquire_privilege)", "ticket"),
            ("SELECT, INSERT, DELETE", "request"),
        ] {
            let grant = format!("GRANT {rights} ON {name}.dbsemaphore_{table} TO {account}");
            conn.batch_execute(&grant).unwrap();
        }
        // What is made here is not to be lost in the first crash.
        conn.batch_execute("FLUSH LOGS").unwrap();
        let has_data_locks = conn
            .batch_execute("SELECT COUNT(*) FROM performance_schema.data_locks")
            .is_ok();
        Self {
            server,
            database,
            account,
            has_data_locks,
        }
    }

    fn has(&self, kind: Kind) -> bool {
        match kind {
            // One process, without a supervisor, a pooler or a standby.
            Kind::StopBackend
            | Kind::KillBackend
            | Kind::RestartImmediate
            | Kind::FailOver
            | Kind::RestartPooler => false,
            // A server's settings reach new sessions alone: these are there all the time.
            Kind::IdleTimeout
            | Kind::TransactionTimeout
            | Kind::StatementTimeout
            | Kind::LockTimeout => false,
            _ => true,
        }
    }

    fn urls(&self) -> Urls {
        let (account, name) = (&self.account, self.database.name());
        Urls {
            direct: self.database.url_as(account),
            afar: [0, 1].map(|number| {
                let (host, port) = (Cable::address(number), self.server.port());
                format!("mysql://{account}:{account}@{host}:{port}/{name}")
            }),
            ..Urls::default()
        }
    }

    fn url(&self) -> String {
        self.database.url()
    }

    fn restart(&mut self, how: Stop) {
        self.server.restart(how);
    }

    fn allow_connections(&self, allow: bool) -> Option<()> {
        let word = if allow { "UNLOCK" } else { "LOCK" };
        self.connect()?
            .batch_execute(&format!("ALTER USER {} ACCOUNT {word}", self.account))
            .ok()
    }

    fn session_id(conn: &mut MysqlConnection) -> QueryResult<i32> {
        let id = diesel::dsl::sql::<Integer>("CAST(CONNECTION_ID() AS signed)");
        diesel::select(id).get_result(conn)
    }

    fn sessions(conn: &mut MysqlConnection, doing: Doing, present: &[Member]) -> Vec<Session> {
        sessions::of_workers(conn, doing, present)
    }

    fn is_there(conn: &mut MysqlConnection, session: &Session) -> Option<bool> {
        sessions::is_there(conn, session)
    }

    fn end_session(conn: &mut MysqlConnection, session: &Session) -> QueryResult<()> {
        conn.batch_execute(&format!("KILL CONNECTION {}", session.pid))
    }

    fn cancel_statement(
        conn: &mut MysqlConnection,
        session: &Session,
        times: usize,
    ) -> QueryResult<()> {
        (0..times).try_for_each(|_| conn.batch_execute(&format!("KILL QUERY {}", session.pid)))
    }

    /// The server's settings do.
    fn limit_resize(_: &mut MysqlConnection) -> QueryResult<()> {
        Ok(())
    }

    fn inject(injector: &Injector<'_, Self>, kind: Kind, _: &mut SmallRng) -> Option<()> {
        assert_eq!(kind, Kind::StopServer);
        let arena = &mut *injector.arena.write().unwrap();
        let fault = Fault::begin(kind, Target::All);
        arena.stop_for(LONG);
        injector.note(fault);
        Some(())
    }

    fn look(conn: &mut MysqlConnection) -> QueryResult<Vec<Row>> {
        look::look(conn)
    }

    fn leftovers(conn: &mut MysqlConnection) -> QueryResult<Vec<(&'static str, i64)>> {
        let count = |conn: &mut MysqlConnection, query: &str| -> QueryResult<i64> {
            let answer: Count = diesel::sql_query(format!("SELECT COUNT(*) AS count FROM {query}"))
                .get_result(conn)?;
            Ok(answer.count)
        };
        let all = count(conn, "dbsemaphore_ticket")?;
        let available: Vec<Count> =
            diesel::sql_query("SELECT id AS count FROM dbsemaphore_ticket FOR UPDATE SKIP LOCKED")
                .load(conn)?;
        Ok(vec![
            ("tickets leaked", all - available.len() as i64),
            (
                "locks left behind",
                count(
                    conn,
                    "performance_schema.metadata_locks WHERE object_name LIKE 'dbsemaphore.%'",
                )?,
            ),
            (
                "rows of requests left behind",
                count(conn, "dbsemaphore_request")?,
            ),
        ])
    }

    fn violations(&self) -> Vec<String> {
        Vec::new()
    }

    fn constant_faults() -> &'static [Kind] {
        &[Kind::IdleTimeout]
    }
}

impl Mysql {
    /// Needs the arena for itself: nothing else can be done meanwhile that needs an answer.
    fn stop_for(&mut self, time: Duration) {
        self.server.pause();
        thread::sleep(time);
        self.server.resume();
    }
}
