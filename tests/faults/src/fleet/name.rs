//! Processes by their names.

use crate::{arena::Place, log::Time};
use std::path::{Path, PathBuf};

/// Which worker, and the how-manieth process of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) worker: u32,
    pub(crate) life: u32,
}

impl Name {
    /// Of the application that a session on PostgreSQL shows.
    pub(crate) fn of_application(application: &str) -> Option<Self> {
        let (worker, life) = application.strip_prefix('w')?.split_once('.')?;
        Some(Self {
            worker: worker.parse().ok()?,
            life: life.parse().ok()?,
        })
    }

    pub(crate) fn log(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-{}.log", self.worker, self.life))
    }
}

/// A process that is there.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    pub(crate) name: Name,
    pub(crate) place: Place,
    #[cfg_attr(
        not(feature = "mysql"),
        expect(dead_code, reason = "PostgreSQL shows the name")
    )]
    pub(crate) process: u32,
}

/// A time in which somebody could do nothing.
#[derive(Clone, Copy)]
pub(crate) struct Pause {
    pub(crate) name: Name,
    pub(crate) from: Time,
    pub(crate) to: Time,
}
