//! What each public call means, whatever the database: functions of a database, registered for each backend.
//!
//! Tests of the folder of one backend say more: what an open transaction and its savepoints hold exactly, deadlocks,
//! settings, rights.
//!
//! MySQL leaves out parts of two tests: in `leaving`, the limits of your own session (`ServerDatabase::limits`); in `model`,
//! what it does not promise inside your transaction (`ServerDatabase::EXACT_IN_TRANSACTIONS`). There, your transactions are
//! READ COMMITTED, because others do not see a resize.
//!
//! SQLite has no server that could end a session, and `acquire` and `require` in your transaction do not compile there. So it leaves
//! out what `on_each_server` registers:
//!
//! * Your transaction holds the ticket: all of `your_transaction`, `isolation`, `model`; in `bad_input`, `no_transaction`,
//!   `guard_inside_a_transaction`, `migrations_not_run_in_your_transaction`; in `call_forms`, `your_transaction_on_each_form_of_connection`,
//!   `transaction_in_a_transaction_holds_the_ticket_until_that_ends`; `cancel::your_transaction_continues_after_a_cancelled_wait`,
//!   `fencing::tokens_increase_in_older_transactions`, `finding::finds_the_last_available_ticket_of_many`,
//!   `pool::a_panic_in_your_transaction_releases_the_ticket`, `queue::a_transaction_continues_after_its_wait`,
//!   `release::after_commit_and_rollback`, `release::after_a_panic_in_a_transaction_without_a_pool`, `test_transactions::a_transaction_inside_a_test_transaction_is_one`. Instead, `sqlite::basics`
//!   tests the function `transaction`, and guards inside of transactions.
//! * `events::waits_are_logged`: no database takes part in it. `release::after_kill_9`: `sqlite::queue` and `sqlite::fuzz` kill holders.
//! * The server ends or restarts a session: all of `leaving`; `bad_input::dead_connection`, `events::a_loss_is_logged_once`,
//!   `fencing::tokens_increase_across_a_crash`, `release::after_a_killed_session`, `release::after_a_restart_of_the_server`; in `guard`,
//!   `check_and_release_report_a_loss`, `release_reports_an_undetected_loss`, `with_ticket_reports_a_loss_unless_the_work_failed`; in
//!   `watch`, `a_loss_is_reported_in_each_way`, `release_reports_a_loss_within_the_first_interval`,
//!   `with_ticket_reports_the_loss_of_a_watched_ticket`. `sqlite::surroundings` tests the one way to lose a ticket there.
//! * `inspect::waiters_are_listed_in_order_and_then_as_holders` tells waiters by their sessions. On SQLite, all of one process are
//!   the same, and `sqlite::queue` lists waiters of several processes.
//! * Promises that SQLite does not make: `pool::a_forgotten_guard_ends_with_its_connection`, since a leaked guard holds its ticket until
//!   the process ends; `resize::a_resize_in_a_transaction_is_undone_with_it`, since `make` and `destroy` are refused there;
//!   `resize::a_cancelled_shrink_leaves_the_old_size`, since nothing cancels one.

pub(crate) mod bad_input;
mod call_forms;
mod cancel;
mod crowd;
mod events;
pub(crate) mod fencing;
mod finding;
mod guard;
pub(crate) mod inspect;
mod isolation;
pub(crate) mod leaving;
mod manage;
mod migrations;
mod model;
mod order;
mod pool;
pub(crate) mod queue;
mod release;
mod resize;
mod test_transactions;
pub(crate) mod watch;
mod your_transaction;
