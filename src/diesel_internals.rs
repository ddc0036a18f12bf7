//! All uses of what Diesel hides from its documentation. A minor release of Diesel may change such an item, therefore
//! Cargo.toml allows only one minor version. Everything else in this crate uses documented items of Diesel.

use diesel::{
    PgConnection,
    connection::{AnsiTransactionManager, TransactionManager},
    result::QueryResult,
};
use std::num::NonZeroU32;

/// Returns how many transactions are open, savepoints included, or `None` outside a transaction. Fails if the
/// connection is marked as broken.
pub(crate) fn transaction_depth(conn: &mut PgConnection) -> QueryResult<Option<NonZeroU32>> {
    AnsiTransactionManager::transaction_manager_status_mut(conn).transaction_depth()
}

/// Whether a pool would close the connection, because it is marked as broken, or inside a transaction that
/// `begin_test_transaction` has not opened.
pub(crate) fn would_be_closed_by_pool(conn: &mut PgConnection) -> bool {
    AnsiTransactionManager::is_broken_transaction_manager(conn)
}

/// Tells Diesel that no transaction is open, after raw SQL has ended it.
pub(crate) fn reset_transaction_depth(conn: &mut PgConnection) {
    *AnsiTransactionManager::transaction_manager_status_mut(conn) = Default::default();
}

/// Marks the connection as broken, so that a pool closes it instead of passing its present state to the next user.
pub(crate) fn mark_broken(conn: &mut PgConnection) {
    AnsiTransactionManager::transaction_manager_status_mut(conn).set_in_error();
}
