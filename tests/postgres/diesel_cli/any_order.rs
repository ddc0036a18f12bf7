//! Migrations of both sides, in any order.

use super::Application;
use crate::postgres::number;
use diesel::PgConnection;
use diesel_dbsemaphore as sem;

/// A walk in which each `length` steps in a row, of `kinds` kinds, occur: a de Bruijn sequence, found by always taking
/// the highest step that makes a new row.
fn walk(kinds: usize, length: usize) -> Vec<usize> {
    let mut steps = vec![0; length];
    let mut seen = std::collections::BTreeSet::from([steps.clone()]);
    while let Some(step) = (0..kinds).rev().find(|&step| {
        let mut row = steps[steps.len() + 1 - length..].to_vec();
        row.push(step);
        seen.insert(row)
    }) {
        steps.push(step);
    }
    assert_eq!(seen.len(), kinds.pow(length.try_into().unwrap()));
    steps
}

const TABLES: [&str; 2] = ["users", "posts"];

/// Every three steps in a row, whatever was before.
#[test]
fn migrations_of_both_sides_run_in_any_order() {
    let application = Application::new();
    for (version, table) in ["2026-11-23-000000", "9999-01-01-000000"]
        .iter()
        .zip(TABLES)
    {
        application.add_migration(
            &format!("{version}_{table}"),
            &format!("CREATE TABLE {table} (id int PRIMARY KEY);"),
            &format!("DROP TABLE {table};"),
        );
    }
    let conn = &mut application.database.connect();
    let (mut theirs, mut ours) = (0, false);
    for (number, step) in walk(5, 3).into_iter().enumerate() {
        match step {
            0 => {
                application.diesel("migration run");
                theirs = TABLES.len();
            }
            1 => {
                application.diesel("migration revert");
                theirs = theirs.saturating_sub(1);
            }
            2 => {
                application.diesel("migration redo");
            }
            3 => {
                sem::run_migrations(conn).unwrap();
                ours = true;
            }
            _ => {
                sem::revert_migrations(conn).unwrap();
                ours = false;
            }
        }
        assert_theirs(&application, conn, theirs);
        match (sem::make(conn, "x", 3), ours) {
            (Ok(()), true) | (Err(sem::Error::NotMigrated), false) => {}
            (other, _) => panic!("step {number}: {other:?} when {ours}"),
        }
    }
}

/// The first so many of its migrations are applied, and the tool sees nothing of ours.
fn assert_theirs(application: &Application, conn: &mut PgConnection, applied: usize) {
    let versions = "SELECT count(*) FROM public.__diesel_schema_migrations";
    assert_eq!(number(conn, versions), i64::try_from(applied).unwrap());
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename IN ('users', 'posts')";
    assert_eq!(number(conn, tables), i64::try_from(applied).unwrap());
    let schema = application.schema();
    for (place, table) in TABLES.iter().enumerate() {
        let shown = schema.contains(&format!("{table} (id)"));
        assert_eq!(shown, place < applied, "{schema}");
    }
    assert!(!schema.contains("semaphore"), "{schema}");
}
