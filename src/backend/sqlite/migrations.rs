//! Migrations, with a list of their own: that of Diesel's harness belongs to the application.

use super::{busy, busy::in_write_transaction, folder::Database, manage, tables};
use crate::{Result, schema::sqlite::dbsemaphore_semaphore};
use diesel::{connection::SimpleConnection, prelude::*};
use std::{collections::BTreeSet, fs, io::ErrorKind::NotFound};

struct Migration {
    version: &'static str,
    up: &'static str,
    down: &'static str,
}

const MIGRATIONS: &[Migration] = &[Migration {
    version: "20261126000000",
    up: include_str!("../../../migrations/sqlite/2026-11-26-000000_tables/up.sql"),
    down: include_str!("../../../migrations/sqlite/2026-11-26-000000_tables/down.sql"),
}];

const CREATE_LIST: &str =
    "CREATE TABLE IF NOT EXISTS dbsemaphore_migration (version TEXT NOT NULL PRIMARY KEY);\n";

diesel::table! {
    main.dbsemaphore_migration (version) {
        version -> Text,
    }
}

diesel::table! {
    main.sqlite_master (name) {
        name -> Text,
    }
}

pub(super) fn run(conn: &mut SqliteConnection) -> Result<()> {
    if pending(conn)?.is_empty() {
        return Ok(());
    }
    // Another process may have migrated meanwhile.
    in_write_transaction(conn, |conn| {
        let sql = sql(&read_pending(conn)?);
        conn.batch_execute(&sql)
    })
}

/// Destroys all semaphores, which waits for their holders, and drops the tables.
pub(super) fn revert(conn: &mut SqliteConnection) -> Result<()> {
    if pending(conn)?.len() == MIGRATIONS.len() {
        return Ok(());
    }
    loop {
        for (name, _) in tables::sizes(conn)? {
            manage::destroy(conn, &name)?;
        }
        let reverted = in_write_transaction(conn, |conn| {
            let semaphores: i64 = dbsemaphore_semaphore::table.count().get_result(conn)?;
            if semaphores > 0 {
                return Ok(false);
            }
            for migration in MIGRATIONS.iter().rev() {
                conn.batch_execute(migration.down)?;
            }
            conn.batch_execute("DROP TABLE dbsemaphore_migration")?;
            Ok(true)
        })?;
        if reverted {
            break;
        }
    }
    let root = Database::of(conn)?.root();
    match fs::remove_dir(&root) {
        Err(error) if error.kind() != NotFound => log::debug!("{}: {error}", root.display()),
        _ => {}
    }
    Ok(())
}

pub(super) fn pending_sql(conn: &mut SqliteConnection) -> Result<String> {
    Ok(sql(&pending(conn)?))
}

fn sql(pending: &[&Migration]) -> String {
    if pending.is_empty() {
        return String::new();
    }
    let mut sql = CREATE_LIST.to_owned();
    for Migration { version, up, .. } in pending {
        sql += up;
        sql += &format!("INSERT INTO dbsemaphore_migration (version) VALUES ('{version}');\n");
    }
    sql
}

fn pending(conn: &mut SqliteConnection) -> Result<Vec<&'static Migration>> {
    Ok(busy::retry(|| read_pending(conn))?)
}

fn read_pending(conn: &mut SqliteConnection) -> QueryResult<Vec<&'static Migration>> {
    let lists: i64 = sqlite_master::table
        .filter(sqlite_master::name.eq("dbsemaphore_migration"))
        .count()
        .get_result(conn)?;
    let applied: BTreeSet<String> = if lists == 0 {
        BTreeSet::new()
    } else {
        let versions = dbsemaphore_migration::table.select(dbsemaphore_migration::version);
        versions.load::<String>(conn)?.into_iter().collect()
    };
    let pending = MIGRATIONS
        .iter()
        .filter(|migration| !applied.contains(migration.version));
    Ok(pending.collect())
}
