//! Cancelling a wait by its token.

use super::with_semaphore;
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, CancellationToken, Error, Request, SemaphoreTicket};
use stand::eventually;
use std::thread;

#[test]
fn one_call_cancels_a_wait() {
    let (database, mut conn) = with_semaphore("closed", 0);
    for (round, is_guard) in [true, false].into_iter().cycle().take(20).enumerate() {
        let token = CancellationToken::new();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let request = Request::new("closed").wait_forever().cancellation(&token);
                let mut conn = database.connect();
                if is_guard {
                    SemaphoreTicket::acquire(&mut conn, request).map(drop)
                } else {
                    conn.transaction(|conn| sem::acquire(conn, request))
                        .map(drop)
                }
            });
            eventually("it waits", || {
                sem::waiters(&mut conn, "closed").unwrap().len() == 1
            });
            assert!(token.cancel(&mut conn).unwrap(), "round {round}");
            let outcome = waiter.join().unwrap();
            assert!(
                matches!(outcome, Err(Error::Cancelled { .. })),
                "{outcome:?}"
            );
        });
        assert_eq!(sem::waiters(&mut conn, "closed").unwrap(), []);
    }
}
