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
    pub(crate) usage: Usage,
    pub(crate) holders: Vec<Holder>,
    pub(crate) waiters: Vec<Waiter>,
}

pub(crate) const USAGE: [&str; 4] = ["NAME", "SIZE", "IN USE", "WAITING"];
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
    "POSITION",
    "TICKETS",
    "PID",
    "ROLE",
    "APPLICATION",
    "LABEL",
    "CLIENT",
    "WAITED",
];

pub(crate) fn usage_row(usage: &Usage) -> [String; 4] {
    [
        usage.name.escape_debug().to_string(),
        usage.size.to_string(),
        usage.in_use.to_string(),
        usage.waiting.to_string(),
    ]
}

/// For how long the session has held the ticket. If this is unknown, the age of its transaction, which is at least as
/// long.
pub(crate) fn age(holder: &Holder) -> String {
    match (holder.held_for, holder.transaction_for) {
        (Some(held), _) => time(held),
        (None, Some(transaction)) => format!("< {}", time(transaction)),
        (None, None) => String::new(),
    }
}

pub(crate) fn holder_row(holder: &Holder) -> [String; 7] {
    let [pid, role, application, label, client] = session_row(&holder.session);
    let ticket = holder.ticket.to_string();
    [ticket, pid, role, application, label, client, age(holder)]
}

pub(crate) fn waiter_row(waiter: &Waiter) -> [String; 8] {
    let [pid, role, application, label, client] = session_row(&waiter.session);
    let tickets = waiter
        .tickets
        .map_or(String::new(), |tickets| tickets.to_string());
    let waited = waiter.waited.map_or(String::new(), time);
    let position = waiter.position.to_string();
    [
        position,
        tickets,
        pid,
        role,
        application,
        label,
        client,
        waited,
    ]
}

/// Replaces control characters: names and labels are set by others, and could control the terminal.
fn session_row(session: &Session) -> [String; 5] {
    let text = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        text.escape_debug().to_string()
    };
    [
        session.pid.map_or(String::new(), |pid| pid.to_string()),
        text(&session.role),
        text(&session.application),
        text(&session.label),
        text(&session.client_address),
    ]
}

pub(crate) fn tickets(number: u32) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} ticket{plural}")
}

/// Formats a duration in whole seconds, or in milliseconds below one second.
fn time(time: Duration) -> String {
    let time = Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let shown = if time < Duration::from_secs(1) {
        time
    } else {
        Duration::from_secs(time.as_secs())
    };
    humantime::format_duration(shown).to_string()
}

/// A head and rows, without the columns that the backend does not know.
pub(crate) fn columns<const N: usize>(
    head: [&'static str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    unknown: &[&str],
) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let is_known = |column: &usize| !unknown.contains(&head[*column]);
    let rows = rows.into_iter().map(|row| {
        let cells = row.into_iter().enumerate();
        let known = cells.filter(|(column, _)| is_known(column));
        known.map(|(_, cell)| cell).collect()
    });
    let rows = rows.collect();
    (
        (0..N).filter(is_known).map(|column| head[column]).collect(),
        rows,
    )
}

/// Formats a table. Columns of numbers are aligned on the right.
pub(crate) fn table((head, rows): (Vec<&'static str>, Vec<Vec<String>>)) -> String {
    const NUMBERS: [&str; 7] = [
        "SIZE", "TICKETS", "IN USE", "WAITING", "TICKET", "PID", "POSITION",
    ];
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head.clone());
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
