use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// Counts who is inside, and knows nothing of semaphores: so it can tell whether they work.
#[derive(Default)]
pub(crate) struct Visitors {
    inside: AtomicU32,
    most: AtomicU32,
    in_all: AtomicU64,
}

impl Visitors {
    pub(crate) fn enter(&self) -> Visit<'_> {
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(inside, SeqCst);
        self.in_all.fetch_add(1, SeqCst);
        Visit(self)
    }

    pub(crate) fn inside(&self) -> u32 {
        self.inside.load(SeqCst)
    }

    /// The most that were ever inside at once.
    pub(crate) fn most(&self) -> u32 {
        self.most.load(SeqCst)
    }

    pub(crate) fn in_all(&self) -> u64 {
        self.in_all.load(SeqCst)
    }
}

pub(crate) struct Visit<'a>(&'a Visitors);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}
