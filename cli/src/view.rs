//! Formats results: columns for people, JSON for programs.

use crate::{fault::Fault, output};
use comfy_table::{CellAlignment, Table, presets};
use diesel_dbsemaphore::{Holder, Session, Usage, Waiter};
use serde::Serialize;
use std::time::Duration;

/// A semaphore with its holders and waiters.
#[derive(Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) usage: UsageView,
    pub(crate) holders: Vec<HolderView>,
    pub(crate) waiters: Vec<WaiterView>,
}

#[derive(Serialize)]
pub(crate) struct UsageView {
    pub(crate) name: String,
    pub(crate) tickets: u32,
    pub(crate) in_use: u32,
    pub(crate) waiting: u32,
}

#[derive(Serialize)]
pub(crate) struct HolderView {
    pub(crate) ticket: i64,
    #[serde(flatten)]
    pub(crate) session: SessionView,
    pub(crate) held_for_ms: Option<u64>,
    pub(crate) transaction_for_ms: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct WaiterView {
    pub(crate) place: u32,
    pub(crate) tickets: Option<u32>,
    #[serde(flatten)]
    pub(crate) session: SessionView,
    pub(crate) waited_ms: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct SessionView {
    pub(crate) pid: Option<i32>,
    pub(crate) role: Option<String>,
    pub(crate) application: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) client_address: Option<String>,
}

pub(crate) const USAGE: [&str; 4] = ["NAME", "TICKETS", "IN USE", "WAITING"];
pub(crate) const HOLDERS: [&str; 7] = [
    "TICKET",
    "PID",
    "ROLE",
    "APPLICATION",
    "LABEL",
    "CLIENT",
    "HELD FOR",
];
pub(crate) const WAITERS: [&str; 8] = [
    "PLACE",
    "TICKETS",
    "PID",
    "ROLE",
    "APPLICATION",
    "LABEL",
    "CLIENT",
    "WAITED",
];

impl UsageView {
    pub(crate) fn row(&self) -> [String; 4] {
        [
            self.name.escape_debug().to_string(),
            self.tickets.to_string(),
            self.in_use.to_string(),
            self.waiting.to_string(),
        ]
    }
}

impl HolderView {
    /// For how long the session has held the ticket. If this is unknown, the age of its transaction, which is at least
    /// as long.
    pub(crate) fn age(&self) -> String {
        match (self.held_for_ms, self.transaction_for_ms) {
            (Some(held), _) => time(held),
            (None, Some(transaction)) => format!("< {}", time(transaction)),
            (None, None) => String::new(),
        }
    }

    pub(crate) fn row(&self) -> [String; 7] {
        let [pid, role, application, label, client] = self.session.row();
        let ticket = self.ticket.to_string();
        [ticket, pid, role, application, label, client, self.age()]
    }
}

impl WaiterView {
    pub(crate) fn row(&self) -> [String; 8] {
        let [pid, role, application, label, client] = self.session.row();
        let tickets = self
            .tickets
            .map_or(String::new(), |tickets| tickets.to_string());
        let waited = self.waited_ms.map_or(String::new(), time);
        let place = self.place.to_string();
        [
            place,
            tickets,
            pid,
            role,
            application,
            label,
            client,
            waited,
        ]
    }
}

impl SessionView {
    /// Replaces control characters: names and labels are set by others, and could control the terminal.
    fn row(&self) -> [String; 5] {
        let text = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or_default();
            text.escape_debug().to_string()
        };
        [
            self.pid.map_or(String::new(), |pid| pid.to_string()),
            text(&self.role),
            text(&self.application),
            text(&self.label),
            text(&self.client_address),
        ]
    }
}

/// Formats a duration in whole seconds, or in milliseconds below one second.
fn time(milliseconds: u64) -> String {
    let time = Duration::from_millis(milliseconds);
    let shown = if time < Duration::from_secs(1) {
        time
    } else {
        Duration::from_secs(time.as_secs())
    };
    humantime::format_duration(shown).to_string()
}

/// Formats a table. Columns whose head is among `numbers` are aligned on the right.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    const NUMBERS: [&str; 6] = ["TICKETS", "IN USE", "WAITING", "TICKET", "PID", "PLACE"];
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head);
    table.add_rows(rows);
    for (column, name) in table.column_iter_mut().zip(head) {
        column.set_padding((0, 2));
        if NUMBERS.contains(&name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

pub(crate) fn print(
    json: bool,
    data: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<(), Fault> {
    let text = if json {
        serde_json::to_string_pretty(data)?
    } else {
        text()
    };
    output::print(&format!("{text}\n")).map_err(Fault::output)
}

fn milliseconds(time: Option<Duration>) -> Option<u64> {
    time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl From<Usage> for UsageView {
    fn from(usage: Usage) -> Self {
        Self {
            name: usage.name,
            tickets: usage.tickets,
            in_use: usage.in_use,
            waiting: usage.waiting,
        }
    }
}

impl From<Holder> for HolderView {
    fn from(holder: Holder) -> Self {
        Self {
            ticket: holder.ticket,
            session: holder.session.into(),
            held_for_ms: milliseconds(holder.held_for),
            transaction_for_ms: milliseconds(holder.transaction_for),
        }
    }
}

impl From<Waiter> for WaiterView {
    fn from(waiter: Waiter) -> Self {
        Self {
            place: waiter.place,
            tickets: waiter.tickets,
            session: waiter.session.into(),
            waited_ms: milliseconds(waiter.waited),
        }
    }
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        Self {
            pid: session.pid,
            role: session.role,
            application: session.application,
            label: session.label,
            client_address: session.client_address,
        }
    }
}
