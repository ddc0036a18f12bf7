//! The format of Prometheus.

use super::{
    State,
    watched::{Status, Watched},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::{
    fmt::{self, Write},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Other people choose names of semaphores. The library does not escape them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Text(String);

impl EncodeLabelValue for Text {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => encoder.write_str(r"\\")?,
                '"' => encoder.write_str("\\\"")?,
                '\n' => encoder.write_str("\\n")?,
                other => encoder.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSemaphore {
    database: Text,
    semaphore: Text,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDatabase {
    database: Text,
}

#[derive(Default)]
struct Metrics {
    size: Family<OfSemaphore, Gauge>,
    in_use: Family<OfSemaphore, Gauge>,
    waiting: Family<OfSemaphore, Gauge>,
    oldest_hold: Family<OfSemaphore, Gauge<f64, AtomicU64>>,
    oldest_wait: Family<OfSemaphore, Gauge<f64, AtomicU64>>,
    up: Family<OfDatabase, Gauge>,
    queries: Family<OfDatabase, Counter>,
    failed_queries: Family<OfDatabase, Counter>,
}

/// Writes all metrics in the format of OpenMetrics.
pub(super) fn open_metrics(state: &State) -> Result<String, fmt::Error> {
    let metrics = Metrics::default();
    for database in &state.databases {
        metrics.add(database);
    }
    let mut text = String::new();
    encode(&mut text, &metrics.registry())?;
    Ok(text)
}

/// Writes all metrics in the text format of Prometheus before OpenMetrics, in which the name of a counter has its ending
/// everywhere, and which has no units and no end.
pub(super) fn text(state: &State) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let mut counters = Vec::new();
    let all = open_metrics(state)?;
    for line in all.lines() {
        if let Some(name) = line
            .strip_prefix("# TYPE ")
            .and_then(|line| line.strip_suffix(" counter"))
        {
            counters.push(name);
        }
    }
    for line in all.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), ..) => {}
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(&name) => {
                writeln!(text, "# {kind} {name}_total {rest}")?;
            }
            _ => writeln!(text, "{line}")?,
        }
    }
    Ok(text)
}

impl Metrics {
    fn add(&self, watched: &Watched) {
        let database = Text(watched.name.clone());
        let of_database = OfDatabase {
            database: database.clone(),
        };
        let seen = watched.seen();
        let is_up = matches!(watched.status(&seen), Status::Up);
        self.up.get_or_create(&of_database).set(is_up.into());
        let counters = [
            (&self.queries, &watched.queries),
            (&self.failed_queries, &watched.failed_queries),
        ];
        for (family, count) in counters {
            let counter = family.get_or_create(&of_database);
            counter.inc_by(count.load(Ordering::Relaxed));
        }
        // The last known numbers of a database that is down would look like those of now.
        if !is_up {
            return;
        }
        let age = seen.age().unwrap_or_default();
        for usage in &seen.snapshot.usages {
            let labels = OfSemaphore {
                database: database.clone(),
                semaphore: Text(usage.name.clone()),
            };
            self.size.get_or_create(&labels).set(usage.size.into());
            self.in_use.get_or_create(&labels).set(usage.in_use.into());
            self.waiting
                .get_or_create(&labels)
                .set(usage.waiting.into());
            let people = seen.snapshot.people.get(&usage.name);
            let holders = people.into_iter().flat_map(|(holders, _)| holders);
            let waiters = people.into_iter().flat_map(|(_, waiters)| waiters);
            for (family, ages) in [
                (&self.oldest_hold, holders.map(|one| one.held_for).collect()),
                (&self.oldest_wait, waiters.map(|one| one.waited).collect()),
            ] {
                if let Some(oldest) = oldest(ages, age) {
                    family.get_or_create(&labels).set(oldest);
                }
            }
        }
    }

    fn registry(self) -> Registry {
        let mut all = Registry::with_prefix("dbsemaphore");
        all.register("size", "Tickets of the semaphore", self.size);
        all.register("in_use", "Held tickets of the semaphore", self.in_use);
        all.register(
            "waiting",
            "Waiters in the queue of the semaphore",
            self.waiting,
        );
        let hold = "Age of the oldest hold of the semaphore, 0 without a holder, missing if no age is known";
        all.register_with_unit("oldest_hold", hold, Unit::Seconds, self.oldest_hold);
        let wait = "Age of the oldest wait for the semaphore, 0 without a waiter, missing if no age is known";
        all.register_with_unit("oldest_wait", wait, Unit::Seconds, self.oldest_wait);
        all.register("up", "Whether the database answers", self.up);
        all.register(
            "queries",
            "Times that the database was queried",
            self.queries,
        );
        all.register(
            "failed_queries",
            "Times that this failed",
            self.failed_queries,
        );
        all
    }
}

/// In seconds, now. `age` is that of the ages. `None` if none of them is known.
fn oldest(ages: Vec<Option<Duration>>, age: Duration) -> Option<f64> {
    if ages.is_empty() {
        return Some(0.0);
    }
    let oldest = ages.into_iter().flatten().max()?;
    Some((oldest + age).as_secs_f64())
}
