use crate::{
    app::{App, eventually, read},
    waiting,
};
use diesel_dbsemaphore::{Request, SemaphoreTicket};
use nix::sys::signal::Signal;
use stand::Database;
use std::{process::Command, thread, time::Duration};

#[test]
fn missing_settings_are_reported_in_one_line() {
    for (settings, setting) in [
        (vec![], "DATABASE_URL"),
        (
            vec![("DATABASE_URL", ""), ("WAIT_LIMIT_MS", "soon")],
            "WAIT_LIMIT_MS",
        ),
    ] {
        let refused = Command::new(env!("CARGO_BIN_EXE_web"))
            .env_remove("DATABASE_URL")
            .envs(settings)
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("web: "), "{said}");
        assert!(said.contains(setting), "{said}");
    }
}

#[test]
fn many_can_start_at_once_on_an_empty_database() {
    let database = Database::create();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let app = App::start(&database.url(), &[("WAIT_LIMIT_MS", "30000")]);
                assert_eq!(app.post("/quotes/17").status, 200);
            });
        }
    });
}

#[test]
fn running_requests_are_answered_before_the_stop() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let database = Database::create();
        let mut conn = database.connect();
        let mut app = App::start(&database.url(), &[("WAIT_LIMIT_MS", "30000")]);
        let all = Request::new("carrier").tickets(3);
        let all = SemaphoreTicket::require(database.connect(), all).unwrap();
        let waits = app.send("POST", "/quotes/17");
        eventually("it waits", || waiting(&mut conn, "carrier") == 1);

        app.signal(signal);
        thread::sleep(Duration::from_millis(300));
        all.release().unwrap();
        assert_eq!(read(waits).status, 200);
        assert!(app.wait().success());
    }
}
