//! What the fleet works with, and where to find it: addresses change.

use std::{fs, path::Path};

/// How many tickets each semaphore has at first.
pub(crate) const SEMAPHORES: [(&str, u32); 4] = [("one", 1), ("few", 3), ("many", 6), ("quick", 3)];

/// Where a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Here,
    BehindPooler,
    /// On a host of its own, with this number.
    Afar(u32),
}

impl Place {
    pub(crate) fn is_near(self) -> bool {
        !matches!(self, Self::Afar(_))
    }
}

/// As workers read them.
#[derive(Default)]
pub(crate) struct Urls {
    /// Changes with them.
    pub(crate) generation: u64,
    pub(crate) direct: String,
    /// Empty without a pooler.
    pub(crate) pooled: String,
    /// By each host's own cable.
    pub(crate) afar: [String; 2],
}

impl Urls {
    pub(crate) fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("urls")).unwrap();
        let mut lines = text.lines();
        let mut line = || lines.next().unwrap().to_owned();
        Self {
            generation: line().parse().unwrap(),
            direct: line(),
            pooled: line(),
            afar: [line(), line()],
        }
    }

    /// Instead of those before. Whoever reads them never sees half of it.
    pub(crate) fn publish(self, folder: &Path) {
        let old = folder.join("urls");
        let generation = if old.exists() {
            Self::read(folder).generation + 1
        } else {
            1
        };
        let new = folder.join("urls.new");
        let text = format!(
            "{generation}\n{}\n{}\n{}\n{}\n",
            self.direct, self.pooled, self.afar[0], self.afar[1]
        );
        fs::write(&new, text).unwrap();
        fs::rename(new, old).unwrap();
    }

    pub(crate) fn of(&self, place: Place) -> String {
        match place {
            Place::Here => self.direct.clone(),
            Place::BehindPooler => self.pooled.clone(),
            Place::Afar(number) => self.afar[number as usize].clone(),
        }
    }
}
