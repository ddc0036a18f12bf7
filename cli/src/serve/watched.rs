//! Watches a database: what it returned last, and since when.

use super::{
    changes::Changes,
    history::{History, point_time},
    querying::Querying,
    spare::Spare,
};
use crate::{database::Database, fault::Fault, snapshot::Snapshot};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The longest pause after an error.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Watched {
    /// Differs from those of the other databases.
    pub(super) name: String,
    pub(super) database: Database,
    pub(super) queries: AtomicU64,
    pub(super) failed_queries: AtomicU64,
    pub(super) changes: Changes,
    pub(super) spare: Arc<Spare>,
    interval: Duration,
    began: Instant,
    seen: Mutex<Arc<Seen>>,
}

/// What the last queries have returned.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) snapshot: Snapshot,
    /// By name.
    pub(super) histories: BTreeMap<String, History>,
    /// When the snapshot was queried.
    at: Option<Instant>,
    /// Why the last query has failed.
    fault: Option<String>,
}

pub(super) enum Status {
    /// Neither a result nor an error yet.
    Connecting,
    Up,
    Down(String),
}

/// Starts to watch, and returns at once.
pub(super) fn start(
    databases: Vec<Database>,
    interval: Duration,
    allow_changes: bool,
) -> Result<Vec<Arc<Watched>>, Fault> {
    let mut names = BTreeSet::new();
    let databases = databases.into_iter().map(|database| {
        let name = unused(&database.name(), &mut names);
        let watched = Arc::new(Watched::new(name, database, interval));
        let watching = Arc::clone(&watched);
        thread::Builder::new()
            .name("watching".to_owned())
            .spawn(move || watching.keep_watching(allow_changes))
            .map_err(Fault::thread)?;
        Ok(watched)
    });
    databases.collect()
}

/// Numbers a name that another database has.
fn unused(name: &str, names: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name} ({number})"));
    let mut all = std::iter::once(name.to_owned()).chain(numbered);
    all.find(|name| names.insert(name.clone()))
        .unwrap_or_default()
}

impl Watched {
    fn new(name: String, database: Database, interval: Duration) -> Self {
        Self {
            name,
            database,
            queries: AtomicU64::default(),
            failed_queries: AtomicU64::default(),
            changes: Changes::default(),
            spare: Arc::default(),
            interval,
            began: Instant::now(),
            seen: Mutex::default(),
        }
    }

    fn keep_watching(&self, allow_changes: bool) {
        let mut querying = Querying::new(
            self.database.clone(),
            allow_changes,
            Arc::clone(&self.spare),
        );
        let mut pause = self.interval;
        loop {
            let began = Instant::now();
            let found = querying.query();
            pause = match &found {
                Ok(_) => self.interval,
                Err(_) => (2 * pause).min(LONGEST_PAUSE).max(self.interval),
            };
            self.record(found);
            thread::sleep(pause.saturating_sub(began.elapsed()));
        }
    }

    fn record(&self, found: Result<Snapshot, Fault>) {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let mut seen = Seen::clone(&self.seen());
        match found {
            Ok(snapshot) => {
                let point = self.point();
                let mut histories = BTreeMap::new();
                for usage in &snapshot.usages {
                    let mut history = seen.histories.remove(&usage.name).unwrap_or_default();
                    history.record(point, usage);
                    histories.insert(usage.name.clone(), history);
                }
                seen = Seen {
                    snapshot,
                    histories,
                    at: Some(Instant::now()),
                    fault: None,
                };
            }
            Err(fault) => {
                self.failed_queries.fetch_add(1, Ordering::Relaxed);
                seen.fault = Some(fault.to_string());
            }
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(seen);
    }

    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of the current point of all charts.
    pub(super) fn point(&self) -> u64 {
        let passed = self.began.elapsed().as_millis() / point_time(self.interval).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }

    pub(super) fn status(&self, seen: &Seen) -> Status {
        if let Some(fault) = &seen.fault {
            return Status::Down(fault.clone());
        }
        // A database that does not answer causes no error.
        let limit = (3 * self.interval).max(LONGEST_PAUSE);
        let silence = seen.at.unwrap_or(self.began).elapsed();
        match seen.at {
            _ if silence > limit => Status::Down(format!(
                "the database has not answered for {}",
                humantime::format_duration(Duration::from_secs(silence.as_secs()))
            )),
            None => Status::Connecting,
            Some(_) => Status::Up,
        }
    }
}

impl Seen {
    /// The age of the snapshot, if there is one.
    pub(super) fn age(&self) -> Option<Duration> {
        self.at.map(|at| at.elapsed())
    }
}
