//! What a person reads.

use crate::{history::History, inject::Kind, log::Time};
use stand::percentile;
use std::time::Duration;

pub(crate) fn print(history: &History, own: &[(Kind, Time)], violations: &[String]) {
    println!(
        "{:44} {:>6} {:>21} {:>21}",
        "", "", "ticket free, ms", "holder knew, ms"
    );
    println!(
        "{:44} {:>6} {:>10} {:>10} {:>10} {:>10}",
        "fault", "times", "p50", "max", "p50", "max"
    );
    let mut all = 0;
    for (kind, title) in Kind::ALL {
        let faults: Vec<_> = history.faults.iter().filter(|f| f.kind == kind).collect();
        let times = faults.len() + own.iter().filter(|(own, _)| *own == kind).count();
        all += times;
        let mut free: Vec<Duration> = faults.iter().filter_map(|f| f.free_after).collect();
        let mut told: Vec<Duration> = faults.iter().flat_map(|f| history.told_after(f)).collect();
        println!(
            "{title:44} {times:>6} {:>10} {:>10} {:>10} {:>10}",
            milliseconds(&mut free, 0.5),
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
