//! The worker processes.

use crate::{Fallible, options::Task};
use std::{
    env,
    process::{Child, Command},
};

pub(crate) fn start_workers(count: u32, task: &Task) -> Fallible<Vec<Child>> {
    (0..count)
        .map(|_| {
            let child = Command::new(env::current_exe()?)
                .arg("--worker")
                .args([&task.url, task.witness.to_str().unwrap_or_default()])
                .arg(task.pause.as_micros().to_string())
                .spawn()?;
            Ok(child)
        })
        .collect()
}

pub(crate) fn all_ended(workers: &mut [Child]) -> Fallible<bool> {
    for worker in workers {
        if worker.try_wait()?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
