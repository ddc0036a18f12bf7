//! What goes wrong leaves both pools whole, and the database without an open transaction.

use crate::app::{App, eventually, read};
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection,
    sql_types::BigInt,
};
use diesel_dbsemaphore as sem;
use stand::{Database, Server, Stop};

#[test]
fn after_errors_both_pools_are_whole() {
    let database = Database::create();
    let mut conn = database.connect();
    let settings = [
        ("TICKET_CONNECTIONS", "2"),
        ("WORK_CONNECTIONS", "2"),
        ("RUST_LOG", "off"),
    ];
    let app = App::start(&database.url(), &settings);
    let fails = |path| {
        for _ in 0..4 {
            let answer = app.post(path);
            assert_eq!(answer.status, 500, "{answer:?}");
            assert_eq!(answer.body, "that went wrong here, and is in our log\n");
            assert_eq!(answer.header("Retry-After"), None);
        }
    };

    // The work under the ticket fails.
    fails("/quotes/0");
    // So does what follows it, ...
    conn.batch_execute("ALTER TABLE quote RENAME TO gone")
        .unwrap();
    fails("/quotes/17");
    // ... and the work in the ticket's own transaction.
    fails("/reports");
    conn.batch_execute("ALTER TABLE gone RENAME TO quote")
        .unwrap();
    // There is no ticket at all.
    sem::destroy(&mut conn, "carrier").unwrap();
    sem::destroy(&mut conn, "reports").unwrap();
    fails("/quotes/17");
    fails("/reports");

    for pool in ["tickets", "work"] {
        let idle = || app.metric(&format!("connections_idle{{pool=\"{pool}\"}}"));
        let open = app.metric(&format!("connections{{pool=\"{pool}\"}}"));
        assert!(open > 0);
        assert_eq!(idle(), open, "of the pool {pool}");
    }
    assert_eq!(in_transactions(&mut conn), 0);
    sem::make(&mut conn, "carrier", 1).unwrap();
    sem::make(&mut conn, "reports", 1).unwrap();
    for _ in 0..4 {
        assert_eq!(app.post("/quotes/17").status, 200);
        assert_eq!(app.post("/reports").status, 200);
    }
    assert_eq!(in_transactions(&mut conn), 0);
}

#[test]
fn a_pool_without_an_available_connection_is_503() {
    let database = Database::create();
    let mut conn = database.connect();
    let app = App::start(&database.url(), &[("WORK_CONNECTIONS", "2")]);

    let stuck = conn.transaction::<_, diesel::result::Error, _>(|conn| {
        conn.batch_execute("LOCK TABLE quote, report")?;
        let stuck = [app.send("POST", "/quotes/17"), app.send("POST", "/reports")];
        let idle = || {
            app.metric("connections{pool=\"work\"}") - app.metric("connections_idle{pool=\"work\"}")
        };
        eventually("both connections are in use", || idle() == 2);
        let answer = app.get("/");
        assert!(answer.is_busy(), "{answer:?}");
        Ok(stuck)
    });
    assert!(stuck.unwrap().into_iter().all(|it| read(it).status == 200));
    assert_eq!(app.get("/").status, 200);
}

#[test]
fn a_stopped_database_is_503_until_its_restart() {
    let mut server = Server::start();
    let app = App::start(&server.url(), &[("RUST_LOG", "off")]);
    let paths = ["/quotes/17", "/reports"];
    assert!(paths.iter().all(|path| app.post(path).status == 200));

    server.stop(Stop::Fast);
    for path in paths {
        let answer = app.post(path);
        assert!(answer.is_busy(), "{path}: {answer:?}");
    }

    server.start_again();
    for path in paths {
        eventually("it works again", || app.post(path).status == 200);
    }
}

/// How many of the application's sessions are in a transaction, without doing anything.
fn in_transactions(conn: &mut PgConnection) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let row: Row = diesel::sql_query(
        "SELECT count(*) AS number FROM pg_stat_activity
         WHERE application_name LIKE 'web%' AND datname = current_database() AND state LIKE 'idle in transaction%'",
    )
    .get_result(conn)
    .unwrap();
    row.number
}
