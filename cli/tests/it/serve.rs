//! `dbsemaphore serve`, as its users and their browsers see it.

mod changes;
mod client;
mod databases;
mod reading;
