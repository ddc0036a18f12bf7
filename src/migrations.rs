//! Our tables live in a schema of their own, and so does the list of the migrations that made them. Diesel's harness
//! finds that list through the search path and knows it by one name, so that it would use the application's: for as
//! long as it runs, the search path is our schema, in one transaction and behind one lock.

mod functions;
mod sql;

pub use self::sql::pending_sql;

use crate::{Error, Result, pg_errors::Operation, query, transaction};
use diesel::{
    PgConnection,
    connection::SimpleConnection,
    migration::{MigrationSource, MigrationVersion},
    pg::Pg,
    prelude::*,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::collections::BTreeSet;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The advisory lock that migrating processes take, "dbsemaph" as a number.
const LOCK: i64 = i64::from_be_bytes(*b"dbsemaph");

/// The search path of the migrations. Whoever may create functions somewhere else can't plant one here.
const PATH: &str = "dbsemaphore, pg_temp";

diesel::table! {
    dbsemaphore.__diesel_schema_migrations (version) {
        version -> Text,
    }
}

/// Creates what this crate needs in the database, the schema `dbsemaphore`, or brings it up to date.
///
/// Call it when the application starts: any number of processes may do so at once, one does the work, and the others
/// wait for it. With nothing to do, it takes no lock and needs no more rights than a holder of tickets has. All
/// migrations are applied or none. The application's own migrations are not touched, nor is `search_path`.
///
/// # Errors
///
/// [`Migration`](Error::Migration), [`Database`](Error::Database). If an [event
/// trigger](crate::guide::migrating#event-triggers) may have failed, the error names it. A role that may not create a schema gets
/// an error that says so, and so does one that would give its rights away, in a schema of somebody else's: see
/// [`security`](crate::guide::security#the-owner-of-the-schema).
///
/// ```
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// diesel_dbsemaphore::run_migrations(&mut conn)?;
/// diesel_dbsemaphore::run_migrations(&mut conn)?;     // nothing to do
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn run_migrations(conn: &mut PgConnection) -> Result<()> {
    let run = check_owner(conn, false)
        .and_then(|_| Ok(is_pending(conn)? || functions::are_pending(conn)?))
        .and_then(|pending| if pending { migrate(conn) } else { Ok(()) })
        .and_then(|()| record_move(conn));
    run.map_err(|error| error.classify(conn, Operation::Migrate))
}

fn migrate(conn: &mut PgConnection) -> Result<()> {
    let mut in_schema_now = false;
    let migrated = transaction::in_write_transaction(conn, |conn| {
        query::advisory_lock(conn, LOCK)?;
        if !check_owner(conn, true)? {
            conn.batch_execute("CREATE SCHEMA dbsemaphore")?;
        }
        in_schema_now = true;
        in_schema(conn, |conn| {
            conn.run_pending_migrations(MIGRATIONS).map(drop)?;
            if functions::are_pending(conn)? {
                conn.batch_execute(&functions::sql())?;
            }
            Ok(())
        })
    });
    migrated.map_err(|error| name_event_triggers(conn, error, in_schema_now))
}

/// Event triggers run with the search path of what they are called by. So one of the application's that looks up a name
/// there fails in ours. After the rollback, the error names those that may have failed.
fn name_event_triggers(conn: &mut PgConnection, error: Error, was_in_schema: bool) -> Error {
    let cause = match error {
        Error::Migration(cause) if was_in_schema => cause,
        error => return error,
    };
    let triggers = query::event_triggers_without_path(conn).unwrap_or_default();
    if triggers.is_empty() {
        return Error::Migration(cause);
    }
    let mut text = format!(
        "{cause}; migrations run with search_path = {PATH}, and so do the event triggers of this database: if one of them \
         failed, give its function a path of its own:"
    );
    for query::EventTrigger { name, function } in triggers {
        text.push_str(&format!(
            " ALTER FUNCTION {function} SET search_path = ... (event trigger {name:?});"
        ));
    }
    text.pop();
    Error::Migration(text.into())
}

/// Removes everything that [`run_migrations`] created, and with it all semaphores.
///
/// It waits for transactions that hold tickets, and they block nobody but it; but once it waits, so does everybody else
/// who wants to use a semaphore. Without the tables it does nothing.
///
/// # Errors
///
/// [`Migration`](Error::Migration), [`Database`](Error::Database): also if there is something else in the schema
/// `dbsemaphore`, or something that depends on its tables. Everything stays then.
///
/// ```
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// diesel_dbsemaphore::run_migrations(&mut conn)?;
/// diesel_dbsemaphore::revert_migrations(&mut conn)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn revert_migrations(conn: &mut PgConnection) -> Result<()> {
    let mut in_schema_now = false;
    let reverted = transaction::in_write_transaction(conn, |conn| {
        query::advisory_lock(conn, LOCK)?;
        if !check_owner(conn, true)? {
            return Ok(());
        }
        in_schema_now = true;
        in_schema(conn, |conn| {
            functions::drop_all(conn)?;
            conn.revert_all_migrations(MIGRATIONS).map(drop)
        })?;
        conn.batch_execute(
            "DROP TABLE dbsemaphore.__diesel_schema_migrations; DROP SCHEMA dbsemaphore",
        )?;
        Ok(())
    });
    reverted.map_err(|error| {
        name_event_triggers(conn, error, in_schema_now).classify(conn, Operation::Migrate)
    })
}

/// Whether the schema is there. Whoever owns it says what its functions do, and its triggers, with the rights of those
/// who call them. So somebody could have made it beforehand, for a superuser to fall into: a superuser does nothing at all
/// in a schema of anybody but superusers, and others change nothing in one that isn't theirs.
fn check_owner(conn: &mut PgConnection, changing: bool) -> Result<bool> {
    let Some(owner) = query::schema_owner(conn)? else {
        return Ok(false);
    };
    if owner.is_trusted || !(changing || owner.we_are_superuser) {
        return Ok(true);
    }
    Err(Error::Migration(
        format!(
            "schema dbsemaphore belongs to the role {name}, who says what its functions and triggers do, here with the \
             rights of another role: do this as {name} (SET ROLE), or make sure of what is in the schema and ALTER SCHEMA \
             dbsemaphore OWNER",
            name = owner.name
        )
        .into(),
    ))
}

fn is_pending(conn: &mut PgConnection) -> Result<bool> {
    let applied = applied(conn)?;
    let ours = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(Error::Migration)?;
    Ok(ours
        .iter()
        .any(|migration| !applied.contains(&version(migration.name().version()))))
}

/// The versions of those that have been run.
fn applied(conn: &mut PgConnection) -> Result<BTreeSet<String>> {
    transaction::in_read_scope(conn, |conn| {
        if !query::has_table(conn, "__diesel_schema_migrations")? {
            return Ok(BTreeSet::new());
        }
        let versions: Vec<String> = __diesel_schema_migrations::table
            .select(__diesel_schema_migrations::version)
            .load(conn)?;
        if versions.is_empty() && query::is_filtered(conn, "__diesel_schema_migrations")? {
            return Err(Error::Migration(
                "row level security hides the rows of dbsemaphore.__diesel_schema_migrations from this role: disable it \
                 for that table, or give the role the attribute BYPASSRLS"
                    .into(),
            ));
        }
        Ok(versions.into_iter().collect())
    })
}

/// In another cluster than before, lets fencing tokens go on increasing. Only a role that may do so does.
fn record_move(conn: &mut PgConnection) -> Result<()> {
    let moved = transaction::in_read_scope(conn, |conn| Ok(query::moved_semaphores(conn)?))?;
    if moved.is_empty() {
        return Ok(());
    }
    if !query::may_record_move(conn)? {
        log::warn!(
            "semaphores are in another cluster, or on another timeline, than before, and this role may not note it: call \
             run_migrations once as a role with UPDATE on dbsemaphore.semaphore"
        );
        return Ok(());
    }
    transaction::in_write_transaction(conn, |conn| Ok(query::record_move(conn, &moved)?))
}

fn version(version: MigrationVersion<'_>) -> String {
    version.to_string()
}

fn in_schema(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> diesel::migration::Result<()>,
) -> Result<()> {
    let before = query::swap_search_path(conn, PATH)?;
    work(conn).map_err(Error::Migration)?;
    query::swap_search_path(conn, &before)?;
    Ok(())
}
