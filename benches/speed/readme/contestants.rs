//! The contestants of the table, by their names in the file of figures.

pub(super) const GUARD: &str = "guard";
pub(super) const WAITING: &str = "guard that may wait";
pub(super) const OWN: &str = "own transaction, committed";
pub(super) const BY_HAND: &str = "SKIP LOCKED by hand, rolled back";
pub(super) const BY_HAND_COMMITTED: &str = "SKIP LOCKED by hand, committed";
pub(super) const ADVISORY: &str = "pg_try_advisory_lock over n keys";
pub(super) const PYTHON: &str = "django-dbsemaphore, low level";

pub(super) const ROLLED_BACK: [&str; 4] = [GUARD, BY_HAND, ADVISORY, ""];
pub(super) const COMMITTED: [&str; 4] = [OWN, BY_HAND_COMMITTED, "", PYTHON];
pub(super) const BEST: [&str; 4] = [GUARD, BY_HAND, ADVISORY, PYTHON];
pub(super) const IN_LINE: [&str; 4] = [WAITING, BY_HAND, ADVISORY, PYTHON];
