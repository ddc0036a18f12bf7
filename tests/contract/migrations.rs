//! Migrations, by many processes at once, and back.

use crate::kit::{
    TestDatabase, on_each_backend,
    process::{Process, migrate_at_once},
};
use diesel_dbsemaphore as sem;

on_each_backend!(
    sixteen_processes_at_once,
    reverting_removes_everything_and_may_be_repeated,
);

fn sixteen_processes_at_once<D: TestDatabase>() {
    let database = D::create();
    let processes = (0..16)
        .map(|_| Process::start("migrate", &database))
        .collect();
    migrate_at_once(processes);
    sem::make(&mut database.connect(), "x", 1).unwrap();
}

fn reverting_removes_everything_and_may_be_repeated<D: TestDatabase>() {
    let database = D::with_size(3);
    let conn = &mut database.connect();
    sem::revert_migrations(conn).unwrap();
    sem::revert_migrations(conn).unwrap();
    assert!(matches!(sem::list(conn), Err(sem::Error::NotMigrated)));
    sem::run_migrations(conn).unwrap();
    assert!(sem::list(conn).unwrap().is_empty());
}
