//! A place where holders come and go.

use super::Kind;
use crate::tool::{pool_mode, tool_at};
use diesel::{Connection, PgConnection, connection::CacheSize};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket, Ticket};
use stand::{Bouncer, Database, Server};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

pub(super) const TICKETS: u32 = 40;

pub(super) const REQUEST: Request<'_> = Request::new("x");

/// Who may hold a ticket, and who certainly does.
#[derive(Default)]
pub(super) struct Truth {
    /// From before they ask until after they have given it back. By application, as PostgreSQL knows it.
    pub(super) maybe: BTreeMap<String, u64>,
    /// From after they got it until before they give it back. The number tells two holds from each other.
    pub(super) surely: BTreeSet<(i64, String, u64)>,
    pub(super) holds: u64,
    /// The last hold of each, also after it has gone.
    pub(super) last: BTreeMap<String, u64>,
}

pub(super) struct Stage {
    pub(super) database: Database,
    pub(super) bouncer: Bouncer,
    pub(super) tool_url: String,
    /// That of the tool, if it has one.
    _tool_bouncer: Option<Bouncer>,
    /// The last to go.
    _server: Server,
    pub(super) truth: Mutex<Truth>,
    pub(super) over: AtomicBool,
}

impl Stage {
    pub(super) fn new() -> Self {
        let server = Server::start();
        let database = server.create_database();
        let bouncer = Bouncer::start(&server, &[]);
        let tool_bouncer = pool_mode().map(|mode| Bouncer::start_on(&server.url(), mode, &[]));
        let tool_url = match &tool_bouncer {
            Some(bouncer) => bouncer.url(database.name()),
            None => database.url(),
        };
        let mut conn = database.connect();
        sem::run_migrations(&mut conn).unwrap();
        sem::make(&mut conn, "x", TICKETS).unwrap();
        Self {
            database,
            bouncer,
            tool_url,
            _tool_bouncer: tool_bouncer,
            _server: server,
            truth: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn connect(&self, kind: Kind, application: &str) -> PgConnection {
        let (url, sign) = match kind {
            Kind::Pooled | Kind::PooledNested => (self.bouncer.url(self.database.name()), '?'),
            _ => (self.database.url(), '&'),
        };
        let url = format!("{url}{sign}application_name={application}");
        let mut conn = PgConnection::establish(&url).unwrap();
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        conn
    }

    pub(super) fn comes(&self, application: &str) {
        let mut truth = self.truth.lock().unwrap();
        truth.holds += 1;
        let hold = truth.holds;
        truth.maybe.insert(application.to_owned(), hold);
        truth.last.insert(application.to_owned(), hold);
    }

    /// While `work` runs, it surely holds these.
    pub(super) fn holds(&self, application: &str, tickets: &[i64], work: impl FnOnce()) {
        let hold = self.truth.lock().unwrap().maybe[application];
        let entries = tickets
            .iter()
            .map(|ticket| (*ticket, application.to_owned(), hold));
        self.truth.lock().unwrap().surely.extend(entries);
        work();
        let mut truth = self.truth.lock().unwrap();
        truth.surely.retain(|(_, who, _)| who != application);
    }

    pub(super) fn goes(&self, application: &str) {
        self.truth.lock().unwrap().maybe.remove(application);
    }

    /// How many have connected and asked, not counting the tool.
    pub(super) fn count(&self) -> usize {
        let known = &self.truth.lock().unwrap().last;
        known.keys().filter(|name| name.starts_with('h')).count()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Comes and goes until it is over.
    pub(super) fn churn(&self, kind: Kind, number: usize) {
        if let Kind::Tool = kind {
            return self.churn_tool();
        }
        let application = format!("h{number}");
        let conn = &mut self.connect(kind, &application);
        let mut dice = number as u64 + 1;
        while !self.is_over() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let hold = Duration::from_millis(1 + (dice >> 33) % 20);
            let stay = |ticket: &Ticket| {
                self.holds(&application, ticket.ids(), || thread::sleep(hold));
            };
            self.comes(&application);
            hold_once(conn, kind, stay);
            self.goes(&application);
        }
    }

    pub(super) fn churn_tool(&self) {
        while !self.is_over() {
            let mut tool = tool_at(&self.tool_url);
            let mut tool = tool
                .args(["run", "x", "--wait-forever", "--"])
                .args(["sh", "-c", "read -r _; echo $DBSEMAPHORE_TICKETS; cat"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let application = format!("dbsemaphore[{}]", tool.id());
            self.comes(&application);
            // Its name isn't known before it is there, so it only goes on now.
            let mut stdin = tool.stdin.take().unwrap();
            writeln!(stdin).unwrap();
            let mut line = String::new();
            BufReader::new(tool.stdout.as_mut().unwrap())
                .read_line(&mut line)
                .unwrap();
            let ticket = line.trim().parse().unwrap();
            self.holds(&application, &[ticket], || {
                thread::sleep(Duration::from_millis(20));
            });
            drop(stdin);
            assert!(tool.wait().unwrap().success());
            self.goes(&application);
        }
    }

    /// One look, between two looks at the truth.
    pub(super) fn look(&self, observer: &mut PgConnection) {
        let before = {
            let truth = self.truth.lock().unwrap();
            (truth.maybe.clone(), truth.surely.clone(), truth.holds)
        };
        let seen = sem::holders(observer, "x").unwrap();
        let truth = self.truth.lock().unwrap();
        let seen: Vec<(i64, Option<String>)> = seen
            .into_iter()
            .map(|holder| (holder.ticket, holder.session.application))
            .collect();
        for (ticket, application, hold) in &before.1 {
            if truth
                .surely
                .contains(&(*ticket, application.clone(), *hold))
            {
                let found = seen.contains(&(*ticket, Some(application.clone())));
                assert!(
                    found,
                    "{application} has held {ticket}, and wasn't seen: {seen:?}"
                );
            }
        }
        assert!(seen.len() <= TICKETS as usize);
        for (ticket, application) in &seen {
            // Whoever was there at the first look, or has come since, may hold it. None: it has gone between two glances of
            // the one look.
            let Some(application) = application else {
                continue;
            };
            let known = before.0.contains_key(application)
                || truth
                    .last
                    .get(application)
                    .is_some_and(|hold| *hold > before.2);
            let young = application.starts_with("dbsemaphore[");
            assert!(known || young, "{application} doesn't hold {ticket}");
        }
    }
}

/// Acquires, waits for a while, and releases, in one of the ways. A request that does not wait may be refused.
fn hold_once(conn: &mut PgConnection, kind: Kind, stay: impl FnOnce(&Ticket)) {
    let waits = REQUEST.wait_forever();
    match kind {
        Kind::Guard | Kind::Pooled => {
            if let Some(guard) = SemaphoreTicket::acquire(conn, REQUEST).unwrap() {
                stay(guard.ticket());
            }
        }
        Kind::Several => {
            let guard = SemaphoreTicket::require(conn, waits.tickets(3)).unwrap();
            stay(guard.ticket());
        }
        Kind::Plain => conn
            .transaction::<_, Error, _>(|c| {
                if let Some(ticket) = sem::acquire(c, REQUEST)? {
                    stay(&ticket);
                }
                Ok(())
            })
            .unwrap(),
        Kind::Nested | Kind::PooledNested => conn
            .transaction::<_, Error, _>(|c| {
                let ticket = c.transaction(|c| c.transaction(|c| sem::acquire(c, REQUEST)))?;
                if let Some(ticket) = ticket {
                    stay(&ticket);
                }
                Ok(())
            })
            .unwrap(),
        Kind::Waiting => stay(SemaphoreTicket::require(conn, waits).unwrap().ticket()),
        Kind::WaitingNested => conn
            .transaction::<_, Error, _>(|c| {
                let ticket = c.transaction(|c| sem::require(c, waits))?;
                stay(&ticket);
                Ok(())
            })
            .unwrap(),
        Kind::Tool => unreachable!("a process of its own"),
    }
}
