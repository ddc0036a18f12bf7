//! What the status page shows.

use crate::{
    app::{App, eventually, read},
    waiting,
};
use diesel::connection::SimpleConnection;
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use stand::Database;
use std::{thread, time::Duration};

const LONG_WAIT: [(&str, &str); 1] = [("WAIT_LIMIT_MS", "30000")];

#[test]
fn it_shows_who_holds_and_who_waits() {
    let database = Database::create();
    let mut conn = database.connect();
    let app = App::start(&database.url(), &LONG_WAIT);

    let request = Request::new("carrier").tickets(3).label("three for Ada");
    let guard = SemaphoreTicket::require(database.connect(), request).unwrap();
    let waits = app.send("POST", "/quotes/1815");
    eventually("it waits", || waiting(&mut conn, "carrier") == 1);

    let page = app.get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("3 of 3 in use, 1 waiting"), "{page:?}");
    assert_eq!(page.body.matches("<td>three for Ada</td>").count(), 3);
    for ticket in guard.ticket().ids() {
        assert!(page.body.contains(&format!(">{ticket}</td>")), "{page:?}");
    }
    let waiter = "<td>web (tickets)</td><td>quote for parcel 1815</td>";
    assert!(page.body.contains(waiter), "{page:?}");

    guard.release().unwrap();
    assert_eq!(read(waits).status, 200);
    let page = app.get("/");
    assert!(page.body.contains("0 of 3 in use, 0 waiting"), "{page:?}");
    assert!(!page.body.contains("Ada"), "{page:?}");
}

#[test]
fn names_and_labels_are_escaped_in_html() {
    let database = Database::create();
    let mut conn = database.connect();
    let app = App::start(&database.url(), &LONG_WAIT);

    let name = "<script>alert('name')</script>";
    sem::make(&mut conn, name, 1).unwrap();
    let connect = || {
        let mut conn = database.connect();
        conn.batch_execute("SET application_name = '<u>\"app\" & co'")
            .unwrap();
        conn
    };
    let request = Request::new(name).wait(Duration::from_secs(30));
    let guard = SemaphoreTicket::require(connect(), request.label("<b>holds</b>")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| SemaphoreTicket::require(connect(), request.label("<i>waits</i>")).unwrap());
        eventually("it waits", || waiting(&mut conn, name) == 1);
        let page = app.get("/").body;
        for shown in [
            "&lt;script&gt;alert(&#39;name&#39;)&lt;/script&gt;",
            "<td>&lt;b&gt;holds&lt;/b&gt;</td>",
            "<td>&lt;i&gt;waits&lt;/i&gt;</td>",
            "<td>&lt;u&gt;&quot;app&quot; &amp; co</td>",
        ] {
            assert!(page.contains(shown), "{shown} isn't in {page}");
        }
        for tag in ["<script>", "<b>", "<i>waits", "<u>"] {
            assert!(!page.contains(tag), "{tag} is in {page}");
        }
        guard.release().unwrap();
    });
}
