//! What a person reads.

use crate::{backend::Backend, history::History, kind::Kind};
use stand::percentile;
use std::time::Duration;

/// What a worker did to itself.
pub(crate) struct Own {
    pub(crate) kind: Kind,
    pub(crate) free_after: Option<Duration>,
}

pub(crate) fn print<B: Backend>(history: &History, own: &[Own], violations: &[String]) {
    println!(
        "{:44} {:>6} {:>32} {:>21}",
        "", "", "ticket available, ms", "holder knew, ms"
    );
    println!(
        "{:44} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "fault", "times", "p50", "p99", "max", "p50", "max"
    );
    let told = history.told();
    let mut all = 0;
    for (kind, _) in Kind::ALL {
        let title = B::title(kind);
        let faults = history.faults.iter().filter(|fault| fault.kind == kind);
        let own = own.iter().filter(|own| own.kind == kind);
        let each: Vec<Option<Duration>> = faults
            .map(|fault| fault.free_after)
            .chain(own.map(|own| own.free_after))
            .collect();
        if each.is_empty() {
            continue;
        }
        all += each.len();
        let mut free: Vec<Duration> = each.iter().copied().flatten().collect();
        let mut told: Vec<Duration> = told
            .iter()
            .filter(|(caused_by, _)| *caused_by == kind)
            .map(|(_, after)| *after)
            .collect();
        println!(
            "{title:44} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10}",
            each.len(),
            milliseconds(&mut free, 0.5),
            milliseconds(&mut free, 0.99),
            milliseconds(&mut free, 1.0),
            milliseconds(&mut told, 0.5),
            milliseconds(&mut told, 1.0)
        );
    }
    println!(
        "{all} faults, {} calls, {} violations",
        history.operations.len(),
        violations.len()
    );
    for violation in violations.iter().take(20) {
        println!("VIOLATION {violation}");
    }
}

fn milliseconds(values: &mut [Duration], share: f64) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    format!("{:.1}", percentile(values, share).as_secs_f64() * 1000.0)
}
