//! `dbsemaphore serve`, as its users and their browsers see it.

mod access;
pub(crate) mod changes;
pub(crate) mod client;
mod clients;
mod reading;
