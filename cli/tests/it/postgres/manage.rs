//! Tickets that prepared transactions hold.

use crate::tool::{code, tool_at};
use diesel::connection::SimpleConnection;
use diesel_dbsemaphore as sem;
use stand::Server;

#[test]
fn a_prepared_transaction_is_named_by_terminate() {
    let server = Server::start_with(&["max_prepared_transactions=1"]);
    let database = server.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
    conn.batch_execute("BEGIN").unwrap();
    conn.batch_execute(
        "SELECT dbsemaphore._try_acquire('x', 1, NULL, NULL); PREPARE TRANSACTION 'moving house'",
    )
    .unwrap();
    let ticket = sem::holders(&mut conn, "x").unwrap()[0].ticket.to_string();
    let told = tool_at(database.url())
        .args(["terminate", "x", &ticket, "--yes"])
        .output()
        .unwrap();
    assert_eq!(code(told.status), 1);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("moving house"), "{told}");
    conn.batch_execute("ROLLBACK PREPARED 'moving house'")
        .unwrap();
}
