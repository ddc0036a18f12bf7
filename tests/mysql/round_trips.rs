//! What an acquisition sends.

use super::{is_mariadb, with_semaphore};
use diesel::{Connection, connection::InstrumentationEvent};
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// Counts statements, and those that are prepared or sent as a batch, which takes three round trips.
#[derive(Default)]
struct Counts {
    statements: AtomicUsize,
    others: AtomicUsize,
}

fn count(conn: &mut diesel::MysqlConnection) -> Arc<Counts> {
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| match event {
        InstrumentationEvent::StartQuery { query, .. } => {
            counted.statements.fetch_add(1, SeqCst);
            let text = query.to_string();
            let is_batch = ["BEGIN", "COMMIT", "ROLLBACK"]
                .iter()
                .any(|word| text.starts_with(word));
            counted.others.fetch_add(usize::from(is_batch), SeqCst);
        }
        InstrumentationEvent::CacheQuery { .. } => {
            counted.others.fetch_add(1, SeqCst);
        }
        _ => {}
    });
    counts
}

#[test]
fn a_guard_takes_three() {
    let (_database, mut conn) = with_semaphore("reports", 3);
    for _ in 0..2 {
        SemaphoreTicket::require(&mut conn, "reports")
            .unwrap()
            .release()
            .unwrap();
    }
    let counts = count(&mut conn);
    SemaphoreTicket::require(&mut conn, "reports")
        .unwrap()
        .release()
        .unwrap();
    assert_eq!(counts.statements.load(SeqCst), 3);
    assert_eq!(counts.others.load(SeqCst), 0);
}

/// MySQL takes a second one, which asks whether the server has ended the transaction.
#[test]
fn an_acquisition_in_your_transaction_takes_one_on_mariadb() {
    let (_database, mut conn) = with_semaphore("reports", 3);
    let expected = if is_mariadb(&mut conn) { 1 } else { 2 };
    conn.transaction::<_, Error, _>(|conn| {
        sem::require(conn, "reports")?;
        let counts = count(conn);
        sem::require(conn, "reports")?;
        assert_eq!(counts.statements.load(SeqCst), expected);
        assert_eq!(counts.others.load(SeqCst), 0);
        Ok(())
    })
    .unwrap();
}
