//! The second connection to a database.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Lets one at a time have the second connection: a change, or queries while an earlier connection has no answer. So there are
/// never more than two.
#[derive(Default)]
pub(super) struct Spare(Mutex<Weak<()>>);

/// The right to the second connection, until this is dropped.
pub(super) type Taken = Arc<()>;

impl Spare {
    /// `None` if it is taken.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.strong_count() > 0 {
            return None;
        }
        let taken = Taken::default();
        *last = Arc::downgrade(&taken);
        Some(taken)
    }
}
