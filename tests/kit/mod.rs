//! What the tests have in common. Nothing here uses the crate where a test wants to know what the crate did.

pub(crate) mod children;
mod database;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
pub(crate) mod process;
pub(crate) mod ways;

pub(crate) use database::{PoolOf, ServerDatabase, TestDatabase};
pub(crate) use stand::eventually;

use diesel::{
    Connection,
    connection::{AnsiTransactionManager, TransactionManager},
    result::QueryResult,
};
use diesel_dbsemaphore as sem;
use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Registers tests, which are functions of the database, for each backend.
macro_rules! on_each_backend {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[cfg(feature = "postgres")]
            #[test]
            fn postgres() {
                super::$name::<stand::postgres::Database>();
            }

            #[cfg(feature = "mysql")]
            #[test]
            fn mysql() {
                super::$name::<stand::mysql::Database>();
            }

            #[cfg(feature = "sqlite")]
            #[test]
            fn sqlite() {
                super::$name::<crate::sqlite::Database>();
            }
        }
    )+};
}

/// The same for backends that are servers: sessions can be killed, and an open transaction can hold a ticket.
macro_rules! on_each_server {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[cfg(feature = "postgres")]
            #[test]
            fn postgres() {
                super::$name::<stand::postgres::Database>();
            }

            #[cfg(feature = "mysql")]
            #[test]
            fn mysql() {
                super::$name::<stand::mysql::Database>();
            }
        }
    )+};
}

pub(crate) use {on_each_backend, on_each_server};

/// How many transactions are open, savepoints included. An error if the connection is marked as broken. The tests use this
/// hidden item of Diesel only here.
pub(crate) fn transaction_depth<C>(conn: &mut C) -> QueryResult<Option<NonZeroU32>>
where
    C: Connection<TransactionManager = AnsiTransactionManager>,
{
    AnsiTransactionManager::transaction_manager_status_mut(conn).transaction_depth()
}

/// Tells threads to stop when dropped, also by a panic: otherwise a test that fails would wait for them for ever.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// How often a test of chances repeats itself: `DBSEMAPHORE_TEST_ROUNDS`, or as often as a run of the suite can afford.
pub(crate) fn rounds(affordable: usize) -> usize {
    std::env::var("DBSEMAPHORE_TEST_ROUNDS").map_or(affordable, |rounds| {
        rounds.parse().expect("DBSEMAPHORE_TEST_ROUNDS is a number")
    })
}

pub(crate) fn in_transaction<C: Connection, T>(
    conn: &mut C,
    work: impl FnOnce(&mut C) -> sem::Result<T>,
) -> T {
    conn.transaction(work).unwrap()
}
