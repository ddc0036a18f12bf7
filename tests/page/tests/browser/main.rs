//! The page of `dbsemaphore serve` in a real browser. `make test-browser` runs these tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod browser;
mod changes;
mod hostile;
mod live;
mod pictures;
