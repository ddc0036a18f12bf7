//! Several databases, and those that are down.

use crate::serve::{changes::Browser, client::Served};
use crate::tool::{database_with, pool_mode, url};
use diesel::{Connection, QueryableByName, RunQueryDsl, sql_query, sql_types::BigInt};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stand::{Server, Stop, eventually};
use url::Url;

#[test]
fn two_databases_are_on_one_page() {
    let (one, two) = (database_with(1), database_with(2));
    let served = Served::start(&[url(&one), url(&two), url(&two)], &[]);
    served.until_healthy(true);
    let all = served.get("/api/semaphores").json();
    let sizes = (0..3).map(|index| all["databases"][index]["semaphores"][0]["size"].clone());
    assert_eq!(sizes.collect::<Vec<_>>(), [1, 2, 2]);
    let page = served.get("/").body;
    for name in [
        one.postgres().name().to_owned(),
        two.postgres().name().to_owned(),
        format!("{} (2)", two.postgres().name()),
    ] {
        assert!(page.contains(&format!("/{name}</h2>")), "{name}: {page}");
    }
}

#[test]
fn a_database_that_is_down_is_shown_and_comes_back() {
    let mut server = Server::start();
    let database = server.create_database();
    sem::run_migrations(&mut database.connect()).unwrap();
    sem::make(&mut database.connect(), "x", 7).unwrap();
    let served = Served::start(&[database.url()], &[]);
    served.until("size", 7);

    server.stop(Stop::Fast);
    served.until_healthy(false);
    // The first error is that of the query.
    eventually("the reason is shown", || {
        let page = served.get("/").body;
        page.contains("no connection to the database") && page.contains("What is shown is")
    });
    // The last known sizes remain, except where a program would take them for current ones.
    assert_eq!(served.database()["semaphores"][0]["size"], 7);
    let metrics = served.get("/metrics").body;
    assert!(
        metrics.contains("dbsemaphore_up{") && !metrics.contains("dbsemaphore_size{"),
        "{metrics}"
    );

    server.start_again();
    served.until_healthy(true);
    assert!(served.get("/metrics").body.contains("dbsemaphore_size{"));
}

#[test]
fn a_database_that_does_not_answer_blocks_no_page() {
    let database = database_with(1);
    let served = Served::start(&[url(&database)], &[]);
    served.until_healthy(true);
    let mut locker = database.postgres().connect();
    locker.begin_test_transaction().unwrap();
    let lock = "LOCK TABLE dbsemaphore.semaphore";
    sql_query(lock).execute(&mut locker).unwrap();
    served.until_healthy(false);
    assert!(
        served
            .get("/")
            .body
            .contains("the database has not answered for")
    );
    drop(locker);
    served.until_healthy(true);
}

#[test]
fn a_session_that_does_not_answer_is_replaced() {
    let database = database_with(1);
    let served = Served::start(&[database.url()], &[]);
    served.until_healthy(true);
    // As a host that has vanished: nothing ends the connection.
    let session = "SELECT pid::bigint AS count FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name LIKE 'dbsemaphore%'";
    let Count { count: pid } = sql_query(session)
        .get_result(&mut database.postgres().connect())
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    served.until_healthy(false);
    served.until_healthy(true);
    kill(pid, Signal::SIGCONT).unwrap();
}

#[test]
fn the_password_is_not_shown() {
    let url = "postgres://ada:verysecret@127.0.0.1:1/gone".to_owned();
    let served = Served::start(&[url], &[]);
    let page = served.get("/").body;
    served.until_healthy(false);
    for path in ["/", "/health", "/api/semaphores", "/metrics"] {
        assert!(!served.get(path).body.contains("verysecret"), "{path}");
    }
    assert!(page.contains("127.0.0.1:1/gone"), "{page}");
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[test]
fn requests_use_no_connection() {
    let database = database_with(1);
    let served = Served::start(&[url(&database)], &[]);
    served.until("size", 1);
    for _ in 0..50 {
        served.get("/");
        served.get("/metrics");
    }
    let sessions = sql_query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    let Count { count } = sessions
        .get_result(&mut database.postgres().connect())
        .unwrap();
    // Behind a pooler, a session may remain from the set-up.
    assert_eq!(count, 1);
}

#[test]
fn a_change_that_has_no_answer_ends() {
    let database = database_with(1);
    let ticket = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut url = Url::parse(&url(&database)).unwrap();
    url.query_pairs_mut().append_pair("connect_timeout", "2");
    let browser = Browser::log_in_at(url.as_str());
    let end = browser.form_to_end();
    ticket.release().unwrap();
    let mut observer = database.postgres().connect();
    let mut locker = database.postgres().connect();
    locker.begin_test_transaction().unwrap();
    let lock = "LOCK TABLE dbsemaphore.semaphore";
    sql_query(lock).execute(&mut locker).unwrap();
    assert_eq!(browser.post("/end", &[], &end), 303);
    // It counts connections, and begins to replace the one of the page, before the change is ended.
    eventually("the change fails", || {
        let sessions = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name LIKE 'dbsemaphore%'";
        let Count { count } = sql_query(sessions).get_result(&mut observer).unwrap();
        let page = browser.served.get("/").body;
        if page.contains("in progress") {
            assert!(pool_mode().is_some() || count <= 2, "{count} connections");
        }
        page.contains("failed: the database has not answered within 12s")
    });
    // The connection of the page has no answer either.
    eventually("another one replaces it", || {
        browser.post("/resize", &[], "size=3") == 409
    });
    drop(locker);
    eventually("the next change is possible", || {
        browser.post("/resize", &[], "size=2") == 303
    });
    browser.served.until("size", 2);
}
