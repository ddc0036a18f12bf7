//! The server and the pooler that the fleet works with, and where to find them: their addresses change.

use crate::{kind::Kind, sabotage::Sabotage, witness::rearranged};
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection,
    sql_types::Text,
};
use diesel_dbsemaphore as sem;
use stand::{Bouncer, Cable, Database, Server, Stop};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// How many tickets each semaphore has at first.
pub(crate) const SEMAPHORES: [(&str, u32); 4] = [("one", 1), ("few", 3), ("many", 6), ("quick", 3)];

/// Where a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Here,
    BehindPooler,
    /// On a host of its own, with this number.
    Afar(u32),
}

/// As workers read them.
pub(crate) struct Urls {
    /// Changes with them.
    pub(crate) generation: u64,
    direct: String,
    pooled: String,
    /// By each host's own cable.
    afar: [String; 2],
}

impl Urls {
    pub(crate) fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("urls")).unwrap();
        let mut lines = text.lines();
        let mut line = || lines.next().unwrap().to_owned();
        Self {
            generation: line().parse().unwrap(),
            direct: line(),
            pooled: line(),
            afar: [line(), line()],
        }
    }

    fn write(&self, folder: &Path) {
        // Whoever reads it never sees half of it.
        let new = folder.join("urls.new");
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n",
            self.generation, self.direct, self.pooled, self.afar[0], self.afar[1]
        );
        fs::write(&new, text).unwrap();
        fs::rename(new, folder.join("urls")).unwrap();
    }

    pub(crate) fn of(&self, place: Place) -> String {
        match place {
            Place::Here => self.direct.clone(),
            Place::BehindPooler => self.pooled.clone(),
            Place::Afar(number) => self.afar[number as usize].clone(),
        }
    }
}

pub(crate) struct Arena {
    // Before the servers, whose databases these are.
    bouncer: Bouncer,
    server: Server,
    database: Database,
    urls: Urls,
    /// Of the tickets that nobody resizes, when they were made.
    versions: String,
    /// What servers that are gone wrote about that.
    rearranged: Vec<String>,
}

impl Arena {
    pub(crate) fn open(folder: &Path, sabotage: Option<Sabotage>) -> Self {
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
            sabotage.commit(&mut conn);
        }
        let versions = versions(&mut conn);
        let bouncer = pooler(&server);
        let mut arena = Self {
            bouncer,
            urls: Urls {
                generation: 0,
                direct: String::new(),
                pooled: String::new(),
                afar: Default::default(),
            },
            server,
            database,
            versions,
            rearranged: Vec::new(),
        };
        arena.publish(folder);
        arena
    }

    fn publish(&mut self, folder: &Path) {
        self.urls = Urls {
            generation: self.urls.generation + 1,
            direct: self.database.url_on(&self.server),
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
        };
        self.urls.write(folder);
    }

    pub(crate) fn url(&self) -> String {
        self.urls.direct.clone()
    }

    /// None while the server is down.
    pub(crate) fn connect(&self) -> Option<PgConnection> {
        PgConnection::establish(&self.url()).ok()
    }

    /// Whether holding a ticket has made a new version of its row. None while the server is down.
    pub(crate) fn has_new_versions(&self) -> Option<bool> {
        Some(self.versions != versions(&mut self.connect()?))
    }

    /// Whether this server has what such a fault needs.
    pub(crate) fn knows(&self, kind: Kind) -> bool {
        kind != Kind::TransactionTimeout || self.as_operator("SHOW transaction_timeout").is_some()
    }

    /// When PostgreSQL has rearranged a queue: nothing here gives it a reason to.
    pub(crate) fn rearranged(&self) -> Vec<String> {
        let now = rearranged(&self.server.log());
        self.rearranged.iter().cloned().chain(now).collect()
    }

    /// `SET name = value` or `RESET name`, for all sessions. None if that fails.
    pub(crate) fn configure(&self, change: &str) -> Option<()> {
        self.as_operator(&format!("ALTER SYSTEM {change}"))?;
        self.as_operator("SELECT pg_reload_conf()")
    }

    /// None if that fails.
    pub(crate) fn allow_connections(&self, allow: bool) -> Option<()> {
        self.as_operator(&format!(
            "ALTER DATABASE {} ALLOW_CONNECTIONS {allow}",
            self.database.name()
        ))
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

    pub(crate) fn restart(&mut self, how: Stop) {
        self.server.restart(how);
    }

    pub(crate) fn restart_pooler(&mut self) {
        self.bouncer.restart();
    }

    /// Kills the server, while a standby follows it, and promotes that.
    pub(crate) fn fail_over(&mut self, folder: &Path) {
        let standby = self.server.start_standby();
        self.server.stop(Stop::Kill);
        self.rearranged = self.rearranged();
        standby.promote();
        self.server = standby;
        self.bouncer = pooler(&self.server);
        self.publish(folder);
    }
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

/// Until the server takes connections again.
pub(crate) fn until_up(url: &str) -> PgConnection {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match PgConnection::establish(url) {
            Ok(conn) => return conn,
            Err(error) if Instant::now() > end => panic!("the server is down for good: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}
