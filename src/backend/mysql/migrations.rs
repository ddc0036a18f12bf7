//! The tables are in the database of the connection, beside those of the application, and so is the list of the migrations that
//! created them. Diesel's own list is that of the application.
//!
//! DDL commits implicitly. So a migration is not atomic: after a crash, it runs again from its beginning.

use super::{
    callers_transaction::in_read_scope,
    errors::{has_table, interrupted},
    fragment::ALL_ROWS,
    locks::Lock,
};
use crate::{Error, Result, backend::transaction::is_open};
use diesel::{
    connection::SimpleConnection,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Nullable, Text},
};

macro_rules! migrations {
    ($($folder:literal)*) => {
        &[$((
            $folder,
            include_str!(concat!("../../../migrations/mysql/", $folder, "/up.sql")),
            include_str!(concat!("../../../migrations/mysql/", $folder, "/down.sql")),
        )),*]
    };
}

/// The name, `up.sql` and `down.sql` of all migrations, in their order. A test compares this list with the folder.
const MIGRATIONS: &[(&str, &str, &str)] = migrations! {
    "2026-11-26-000000_tables"
};

const LIST_OF_VERSIONS: &str = "CREATE TABLE IF NOT EXISTS dbsemaphore_migration (\n    \
     version varchar(50) NOT NULL PRIMARY KEY,\n    \
     run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP\n\
     ) ENGINE = InnoDB;\n";

/// How long a process waits for another one that migrates.
const LOCK_SECONDS: u32 = 3600;

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Nullable<BigInt>)]
    locked: Option<i64>,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

pub(super) fn run(conn: &mut MysqlConnection) -> Result<()> {
    if pending(conn)?.is_empty() {
        return Ok(());
    }
    alone(conn, |conn| {
        conn.batch_execute(LIST_OF_VERSIONS)?;
        for (name, up) in pending(conn)? {
            let run = conn
                .batch_execute(up)
                // Without autocommit, nothing else would commit this.
                .and_then(|()| conn.batch_execute(&format!("{}; COMMIT", record(name))));
            run.map_err(|error| Error::Migration(format!("{name}: {error}").into()))?;
        }
        Ok(())
    })
}

pub(super) fn revert(conn: &mut MysqlConnection) -> Result<()> {
    alone(conn, |conn| {
        for (_, _, down) in MIGRATIONS.iter().rev() {
            conn.batch_execute(down)?;
        }
        conn.batch_execute("DROP TABLE IF EXISTS dbsemaphore_migration")?;
        Ok(())
    })
}

pub(super) fn pending_sql(conn: &mut MysqlConnection) -> Result<String> {
    let pending = pending(conn)?;
    if pending.is_empty() {
        return Ok(String::new());
    }
    let mut sql = LIST_OF_VERSIONS.to_owned();
    for (name, up) in pending {
        sql.push_str(&format!(
            "\n-- diesel-dbsemaphore: {name}\n\n{up}\n{};\n",
            record(name)
        ));
    }
    Ok(sql)
}

fn record(name: &str) -> String {
    format!(
        "INSERT IGNORE INTO dbsemaphore_migration (version) VALUES ('{}')",
        version(name)
    )
}

/// As Diesel makes it from the name of a folder.
fn version(name: &str) -> String {
    name.split('_').next().unwrap_or(name).replace('-', "")
}

/// The names and statements of the migrations that have not run.
fn pending(conn: &mut MysqlConnection) -> Result<Vec<(&'static str, &'static str)>> {
    let applied: Vec<Version> = in_read_scope(conn, |conn| {
        if !has_table(conn, "dbsemaphore_migration")? {
            return Ok(Vec::new());
        }
        let versions = format!("SELECT m.version FROM dbsemaphore_migration AS m {ALL_ROWS}");
        Ok(sql_query(versions).load(conn)?)
    })?;
    let is_applied = |name| {
        applied
            .iter()
            .any(|applied| applied.version == version(name))
    };
    Ok(MIGRATIONS
        .iter()
        .filter(|(name, ..)| !is_applied(name))
        .map(|(name, up, _)| (*name, *up))
        .collect())
}

/// Runs `work` while no other process migrates this database.
fn alone(
    conn: &mut MysqlConnection,
    work: impl FnOnce(&mut MysqlConnection) -> Result<()>,
) -> Result<()> {
    if is_open(conn)? {
        return Err(Error::Migration(
            "DDL would commit the transaction that this connection is in: call this outside of a transaction".into(),
        ));
    }
    let name = Lock::Migrations.name(0);
    let lock: Locked =
        sql_query(format!("SELECT GET_LOCK({name}, {LOCK_SECONDS}) AS locked")).get_result(conn)?;
    match lock.locked {
        Some(1) => {}
        Some(_) => {
            return Err(Error::Migration(
                "another process migrates, and has not finished for an hour".into(),
            ));
        }
        None => return Err(interrupted().into()),
    }
    let worked = work(conn);
    // If the connection is lost, so is the lock.
    let released = sql_query(format!("DO RELEASE_LOCK({name})")).execute(conn);
    worked.and_then(|()| Ok(released.map(drop)?))
}
