//! Gets the ticket, or leaves at once when told to.

use super::Event;
use crate::{
    database::{self, Database},
    fault::Fault,
    options::Run,
    signals::Received,
};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl,
    dsl::sql,
    select, sql_query,
    sql_types::{Integer, Text},
};
use diesel_dbsemaphore::{Request, SemaphoreTicket};
use nix::libc::SIGCHLD;
use std::{
    ffi::OsString,
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

/// How long a signal may take to end the tool, less what its own end takes.
const LEAVING: Duration = Duration::from_millis(150);

/// As many characters as others see for certain, beside the name of this tool.
const LABEL_CHARS: usize = 32;

pub(super) enum Outcome {
    Granted(SemaphoreTicket<PgConnection>),
    Busy,
    Interrupted(i32),
}

pub(super) fn acquire(
    database: &Database,
    options: &Run,
    tell: &Sender<Event>,
    events: &Receiver<Event>,
) -> Result<Outcome, Fault> {
    // A thread of its own, for it blocks: nothing but the end of its session can wake it.
    let asking = Asking::new(database, options, tell);
    thread::Builder::new().spawn(move || asking.ask())?;
    let mut session = None;
    while let Ok(event) = events.recv() {
        match event {
            Event::Connected(pid) => session = Some(pid),
            Event::Answered(answer) => {
                return Ok(answer?.map_or(Outcome::Busy, Outcome::Granted));
            }
            Event::Signal(Received {
                number: SIGCHLD, ..
            })
            | Event::Lost => {}
            Event::Signal(signal) => {
                if let Some(pid) = session {
                    leave_line(database, pid);
                }
                return Ok(Outcome::Interrupted(signal.number));
            }
        }
    }
    Err(Fault::new("the thread that asks for the ticket is gone"))
}

/// One who asks.
struct Asking {
    database: Database,
    name: String,
    tickets: u32,
    /// None for ever.
    wait: Option<Duration>,
    host_timeout: Duration,
    label: String,
    tell: Sender<Event>,
}

impl Asking {
    fn new(database: &Database, options: &Run, tell: &Sender<Event>) -> Self {
        let wait = options.wait.unwrap_or_default();
        let label = options.label.clone();
        Self {
            database: database.clone(),
            name: options.name.clone(),
            tickets: options.tickets,
            wait: (!options.wait_forever).then_some(wait),
            host_timeout: options.host_timeout,
            label: label.unwrap_or_else(|| label_of(&options.command)),
            tell: tell.clone(),
        }
    }

    fn ask(self) {
        let answer = self.connect_and_ask();
        // If nobody listens any more, the process is about to end.
        let _ = self.tell.send(Event::Answered(answer));
    }

    fn connect_and_ask(&self) -> Result<Option<SemaphoreTicket<PgConnection>>, Fault> {
        let began = Instant::now();
        let mut conn = self.database.connect()?;
        if self.wait != Some(Duration::ZERO) {
            let pid =
                select(sql::<Integer>("pg_catalog.pg_backend_pid()")).get_result(&mut conn)?;
            let _ = self.tell.send(Event::Connected(pid));
        }
        let request = Request::new(&self.name)
            .tickets(self.tickets)
            .host_timeout(self.host_timeout)
            .label(&self.label);
        let request = match self.wait {
            Some(limit) => request.wait(limit.saturating_sub(began.elapsed())),
            None => request.wait_forever(),
        };
        Ok(SemaphoreTicket::acquire(conn, request)?)
    }
}

/// Ends our own session, for the server would look only each second whether we are still there. It does so all the same
/// if this takes too long.
fn leave_line(database: &Database, pid: i32) {
    let (done, is_done) = mpsc::channel();
    let database = database.clone();
    let ending = thread::Builder::new().spawn(move || {
        let ended = database
            .connect()
            .and_then(|mut conn| Ok(end_session(&mut conn, pid)?));
        drop(ended);
        let _ = done.send(());
    });
    if ending.is_ok() {
        let _ = is_done.recv_timeout(LEAVING);
    }
}

/// Returns when it has ended. Behind a pooler this may be another's session by now, which doesn't have our name.
fn end_session(conn: &mut PgConnection, pid: i32) -> QueryResult<()> {
    let ours = |action: &str| {
        sql_query(format!(
            "SELECT {action} FROM pg_catalog.pg_stat_activity \
             WHERE pid = $1 AND (application_name = $2 OR starts_with(application_name, $2 || ' [ticket: '))"
        ))
        .bind::<Integer, _>(pid)
        .bind::<Text, _>(database::application())
    };
    ours("pg_catalog.pg_terminate_backend(pid)").execute(conn)?;
    while ours("").execute(conn)? > 0 {
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The command's name. Not its arguments: everybody who may connect to the database sees this, and a password may be
/// among those.
fn label_of(command: &[OsString]) -> String {
    let name = command.first().and_then(|path| Path::new(path).file_name());
    let name = name.unwrap_or_default().to_string_lossy();
    let label: String = name
        .chars()
        .map(|letter| {
            if letter.is_ascii_graphic() {
                letter
            } else {
                '?'
            }
        })
        .take(LABEL_CHARS)
        .collect();
    if label.is_empty() {
        "?".to_owned()
    } else {
        label
    }
}
