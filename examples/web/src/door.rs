use crate::error::Error;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Lets in so many requests, those that wait for a ticket included. The others cost no thread and no connection.
pub(crate) struct Door {
    places: u32,
    taken: Arc<AtomicU32>,
}

impl Door {
    pub(crate) fn new(places: u32) -> Self {
        Self {
            places,
            taken: Arc::default(),
        }
    }

    pub(crate) fn enter(&self) -> Result<Pass, Error> {
        let one_more = |taken| (taken < self.places).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map(|_| Pass(Arc::clone(&self.taken)))
            .map_err(|_| Error::Full)
    }
}

/// A place inside. It belongs into the closure that is given to `web::block`, which runs to its end. The handler doesn't:
/// actix drops it when the connection to the client breaks.
pub(crate) struct Pass(Arc<AtomicU32>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
