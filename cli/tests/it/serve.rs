//! `dbsemaphore serve`, as its users and their browsers see it.

pub(crate) mod changes;
pub(crate) mod client;
mod clients;
mod reading;
