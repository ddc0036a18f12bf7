//! `dbsemaphore serve`, as its users and their browsers see it.

mod changes;
pub(crate) mod client;
mod reading;
