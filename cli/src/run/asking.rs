//! Requests the ticket, in a thread of its own.

use super::Event;
use crate::{
    database::{Connection, Database},
    fault::Fault,
    options::Run,
};
use diesel_dbsemaphore::{CancellationToken, Request, SemaphoreTicket};
use std::{
    ffi::OsString,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, mpsc::Sender},
    thread,
    time::{Duration, Instant},
};

/// The length of a label that fits into `application_name` beside the name of this tool.
const LABEL_CHARS: usize = 32;

pub(super) struct Asking {
    database: Database,
    name: String,
    tickets: u32,
    /// `None` for no limit.
    wait: Option<Duration>,
    host_timeout: Duration,
    label: String,
    token: Arc<CancellationToken>,
    tell: Sender<Event>,
}

impl Asking {
    pub(super) fn new(
        database: &Database,
        options: &Run,
        tell: &Sender<Event>,
        token: &Arc<CancellationToken>,
    ) -> Self {
        let wait = options.wait.unwrap_or_default();
        let label = options.label.clone();
        Self {
            database: database.clone(),
            name: options.name.clone(),
            tickets: options.tickets,
            wait: (!options.wait_forever).then_some(wait),
            host_timeout: options.host_timeout,
            label: label.unwrap_or_else(|| label_of(&options.command)),
            token: Arc::clone(token),
            tell: tell.clone(),
        }
    }

    /// Starts the thread, whose result is an event in any case.
    pub(super) fn start(self) -> io::Result<()> {
        thread::Builder::new()
            .name("asking".to_owned())
            .spawn(move || {
                let answer = catch_unwind(AssertUnwindSafe(|| self.ask())).unwrap_or_else(|_| {
                    Err(Fault::new(
                        "can't request a ticket: the thread for it has panicked",
                    ))
                });
                // If nobody receives events any more, the process is about to end.
                let _ = self.tell.send(Event::Answered(Box::new(answer)));
            })?;
        Ok(())
    }

    fn ask(&self) -> Result<Option<SemaphoreTicket<Connection>>, Fault> {
        let began = Instant::now();
        let conn = self.database.connect()?;
        let _ = self.tell.send(Event::Connected);
        let request = Request::new(&self.name)
            .tickets(self.tickets)
            .host_timeout(self.host_timeout)
            .label(&self.label)
            .cancellation(&self.token);
        let request = match self.wait {
            Some(limit) => request.wait(limit.saturating_sub(began.elapsed())),
            None => request.wait_forever(),
        };
        Ok(SemaphoreTicket::acquire(conn, request)?)
    }
}

/// Returns the command's name as the label. The arguments are left out: each role can see a label, and they may contain
/// a password.
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
