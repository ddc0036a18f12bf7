//! A binary log of statements, which InnoDB refuses for transactions that are READ COMMITTED.

use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::mysql::Server;

#[test]
fn the_error_of_a_log_of_statements_names_the_fix() {
    for (format, works) in [("STATEMENT", false), ("MIXED", true)] {
        let server = Server::start_with(&[
            "log_bin=binlog",
            "server_id=1",
            &format!("binlog_format={format}"),
        ]);
        let database = server.create_database();
        let mut conn = database.connect();
        sem::run_migrations(&mut conn).unwrap();
        let made = sem::make(&mut conn, "reports", 1);
        if let Err(error) = &made {
            assert!(error.to_string().contains("ROW or MIXED"), "{error}");
        }
        assert_eq!(made.is_ok(), works, "{format}");
        if works {
            let request = Request::new("reports").label("x");
            drop(SemaphoreTicket::require(&mut conn, request).unwrap());
        }
    }
}
