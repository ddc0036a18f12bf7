//! The page for operators.

use super::{
    State,
    changes::Report,
    chart::Chart,
    history::{POINTS, point_time},
    text::{short, visible},
    watched::{Seen, Status, Watched},
};
use askama::Template;
use diesel_dbsemaphore::{Holder, Session, Usage, Waiter};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::Duration;

pub(super) const SCRIPT: &str = include_str!("app.js");
pub(super) const STYLE: &str = include_str!("style.css");

/// The width of a bar, in the units of its drawing.
const BAR: u64 = 100;

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    databases: Vec<Database<'a>>,
    refresh_ms: u128,
    refresh_s: u64,
    minutes: u64,
    allows_changes: bool,
    /// The text for each form, for operators that have entered the token.
    form: Option<&'a str>,
}

struct Database<'a> {
    index: usize,
    name: &'a str,
    state: &'static str,
    fault: String,
    age: String,
    in_use: u64,
    waiting: u64,
    report: Option<Report>,
    semaphores: Vec<Semaphore>,
}

struct Semaphore {
    id: String,
    name: String,
    /// Percent-encoded, for forms: browsers change line ends.
    encoded_name: String,
    size: u32,
    in_use: u32,
    waiting: u32,
    /// `idle`, `busy`, `full`, `queue` or `closed`.
    state: &'static str,
    bar: u64,
    oldest_hold: String,
    oldest_wait: String,
    chart: Chart,
    holders: Vec<HolderRow>,
    waiters: Vec<WaiterRow>,
}

struct HolderRow {
    ticket: i64,
    /// What identifies this hold, if it can be ended.
    proof: Option<String>,
    time: String,
    who: Who,
}

struct WaiterRow {
    position: u32,
    tickets: String,
    time: String,
    who: Who,
}

struct Who {
    label: String,
    application: String,
    role: String,
    client: String,
    pid: String,
}

pub(super) fn render(state: &State, form: Option<&str>) -> askama::Result<String> {
    let seen: Vec<_> = state
        .databases
        .iter()
        .map(|database| database.seen())
        .collect();
    let databases = state.databases.iter().zip(&seen).enumerate();
    let refresh = state.interval.max(Duration::from_secs(1));
    let page = Page {
        databases: databases
            .map(|(index, (watched, seen))| Database::new(index, watched, seen))
            .collect(),
        refresh_ms: refresh.as_millis(),
        refresh_s: refresh.as_secs().max(5),
        minutes: point_time(state.interval).as_secs() * POINTS as u64 / 60,
        allows_changes: state.access.allows_changes(),
        form,
    };
    page.render()
}

impl<'a> Database<'a> {
    fn new(index: usize, watched: &'a Watched, seen: &Seen) -> Self {
        let (state, fault) = match watched.status(seen) {
            Status::Connecting => ("connecting", String::new()),
            Status::Up => ("up", String::new()),
            Status::Down(fault) => ("down", fault),
        };
        let usages = &seen.snapshot.usages;
        let total = |of: fn(&Usage) -> u32| usages.iter().map(|usage| u64::from(of(usage))).sum();
        let point = watched.point();
        let semaphores = usages.iter().enumerate();
        Self {
            index,
            name: &watched.name,
            state,
            fault,
            age: seen.age().map_or(String::new(), short),
            in_use: total(|usage| usage.in_use),
            waiting: total(|usage| usage.waiting),
            report: watched.changes.report(),
            semaphores: semaphores
                .map(|(number, usage)| {
                    Semaphore::new(format!("s{index}-{number}"), usage, seen, point)
                })
                .collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.semaphores.is_empty()
    }

    fn busy(&self) -> impl Iterator<Item = &Semaphore> {
        self.semaphores
            .iter()
            .filter(|semaphore| semaphore.has_people())
    }

    fn has_busy(&self) -> bool {
        self.busy().next().is_some()
    }
}

impl Semaphore {
    fn new(id: String, usage: &Usage, seen: &Seen, point: u64) -> Self {
        let age = seen.age().unwrap_or_default();
        let people = seen.snapshot.people.get(&usage.name);
        let holders = people.map_or(&[][..], |(holders, _)| holders);
        let waiters = people.map_or(&[][..], |(_, waiters)| waiters);
        let aged = |time: Option<Duration>| time.map_or(String::new(), |time| short(time + age));
        let state = match usage {
            Usage { size: 0, .. } => "closed",
            Usage { waiting: 1.., .. } => "queue",
            Usage { in_use: 0, .. } => "idle",
            usage if usage.available() == 0 => "full",
            _ => "busy",
        };
        let history = seen.histories.get(&usage.name);
        let chart = history.map(|history| Chart::draw(history, point, usage.size));
        Self {
            id,
            name: visible(&usage.name),
            encoded_name: utf8_percent_encode(&usage.name, NON_ALPHANUMERIC).to_string(),
            size: usage.size,
            in_use: usage.in_use,
            waiting: usage.waiting,
            state,
            bar: (u64::from(usage.in_use) * BAR)
                .div_ceil(u64::from(usage.size.max(1)))
                .min(BAR),
            oldest_hold: aged(holders.iter().filter_map(|holder| holder.held_for).max()),
            oldest_wait: aged(waiters.iter().filter_map(|waiter| waiter.waited).max()),
            chart: chart.unwrap_or_default(),
            holders: holders
                .iter()
                .map(|holder| HolderRow {
                    proof: seen.snapshot.proofs.get(&holder.ticket).cloned(),
                    ..HolderRow::new(holder, aged)
                })
                .collect(),
            waiters: waiters
                .iter()
                .map(|waiter| WaiterRow::new(waiter, aged))
                .collect(),
        }
    }

    fn has_people(&self) -> bool {
        !self.holders.is_empty() || !self.waiters.is_empty()
    }
}

impl HolderRow {
    fn new(holder: &Holder, aged: impl Fn(Option<Duration>) -> String) -> Self {
        let mut who = Who::new(&holder.session);
        if let Some(name) = &holder.prepared_transaction {
            who.label = format!("prepared transaction {}", visible(name));
        }
        let time = match (holder.held_for, holder.transaction_for) {
            (None, Some(transaction)) => format!("< {}", aged(Some(transaction))),
            (held, _) => aged(held),
        };
        Self {
            ticket: holder.ticket,
            proof: None,
            time,
            who,
        }
    }
}

impl WaiterRow {
    fn new(waiter: &Waiter, aged: impl Fn(Option<Duration>) -> String) -> Self {
        Self {
            position: waiter.position,
            tickets: waiter
                .tickets
                .map_or(String::new(), |tickets| tickets.to_string()),
            time: aged(waiter.waited),
            who: Who::new(&waiter.session),
        }
    }
}

impl Who {
    fn new(session: &Session) -> Self {
        let text = |text: &Option<String>| text.as_deref().map_or(String::new(), visible);
        Self {
            label: text(&session.label),
            application: text(&session.application),
            role: text(&session.role),
            client: text(&session.client_address),
            pid: session.pid.map_or(String::new(), |pid| pid.to_string()),
        }
    }
}
