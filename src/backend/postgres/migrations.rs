//! The crate's tables are in a schema of their own, and so is the list of the migrations that created them. Diesel's
//! harness finds that list through the search path, by a fixed name, and would otherwise use the list of the
//! application. So migrations run with our schema as the search path, in one transaction and behind one lock.

use super::{functions, server, transaction::in_write_transaction};
use crate::{Error, Result, backend::transaction::in_read_scope};
use diesel::{
    PgConnection,
    connection::SimpleConnection,
    migration::{MigrationSource, MigrationVersion},
    pg::Pg,
    prelude::*,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::collections::BTreeSet;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The key of the advisory lock that processes take while they migrate: "dbsemaph" as a number.
const LOCK: i64 = i64::from_be_bytes(*b"dbsemaph");

/// The search path of the migrations. So a function that somebody has created in another schema is never called.
const PATH: &str = "dbsemaphore, pg_temp";

diesel::table! {
    dbsemaphore.__diesel_schema_migrations (version) {
        version -> Text,
    }
}

pub(super) fn run(conn: &mut PgConnection) -> Result<()> {
    check_owner(conn, false)?;
    if is_pending(conn)? || functions::are_pending(conn)? {
        migrate(conn)?;
    }
    record_move(conn)
}

fn migrate(conn: &mut PgConnection) -> Result<()> {
    let mut in_schema_now = false;
    let migrated = in_write_transaction(conn, |conn| {
        server::advisory_lock(conn, LOCK)?;
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

/// Adds to the error the event triggers that may have failed, after the rollback. An event trigger runs with the search
/// path of its statement. So an event trigger of the application that looks up a name fails in our search path.
fn name_event_triggers(conn: &mut PgConnection, error: Error, was_in_schema: bool) -> Error {
    let cause = match error {
        Error::Migration(cause) if was_in_schema => cause,
        error => return error,
    };
    let triggers = server::event_triggers_without_path(conn).unwrap_or_default();
    if triggers.is_empty() {
        return Error::Migration(cause);
    }
    let mut text = format!(
        "{cause}; migrations run with search_path = {PATH}, and so do the event triggers of this database: if one of them \
         failed, set the search path of its function:"
    );
    for server::EventTrigger { name, function } in triggers {
        text.push_str(&format!(
            " ALTER FUNCTION {function} SET search_path = ... (event trigger {name:?});"
        ));
    }
    text.pop();
    Error::Migration(text.into())
}

pub(super) fn revert(conn: &mut PgConnection) -> Result<()> {
    let mut in_schema_now = false;
    let reverted = in_write_transaction(conn, |conn| {
        server::advisory_lock(conn, LOCK)?;
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
    reverted.map_err(|error| name_event_triggers(conn, error, in_schema_now))
}

/// Returns whether the schema exists. Its owner decides what its functions and triggers do, with the rights of their
/// callers. So somebody could create the schema first, to gain the rights of a superuser. Therefore a superuser does
/// nothing in a schema that is not a superuser's. Other roles change nothing in a schema whose owner they are not a
/// member of.
pub(super) fn check_owner(conn: &mut PgConnection, changing: bool) -> Result<bool> {
    let Some(owner) = server::schema_owner(conn)? else {
        return Ok(false);
    };
    if owner.is_trusted || !(changing || owner.we_are_superuser) {
        return Ok(true);
    }
    Err(Error::Migration(
        format!(
            "schema dbsemaphore belongs to the role {name}, whose functions and triggers would run here with the rights of \
             another role: do this as {name} (SET ROLE), or check the contents of the schema and ALTER SCHEMA dbsemaphore \
             OWNER",
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

/// Returns the versions of the applied migrations.
pub(super) fn applied(conn: &mut PgConnection) -> Result<BTreeSet<String>> {
    in_read_scope(conn, |conn| {
        if !server::has_table(conn, "__diesel_schema_migrations")? {
            return Ok(BTreeSet::new());
        }
        let versions: Vec<String> = __diesel_schema_migrations::table
            .select(__diesel_schema_migrations::version)
            .load(conn)?;
        if versions.is_empty() && server::is_filtered(conn, "__diesel_schema_migrations")? {
            return Err(Error::Migration(
                "row level security hides the rows of dbsemaphore.__diesel_schema_migrations from this role: disable it \
                 for that table, or give the role the attribute BYPASSRLS"
                    .into(),
            ));
        }
        Ok(versions.into_iter().collect())
    })
}

/// Records a move to another cluster, so that fencing tokens still increase. A role without the right to do so logs a
/// warning.
fn record_move(conn: &mut PgConnection) -> Result<()> {
    let moved = in_read_scope(conn, |conn| Ok(server::moved_semaphores(conn)?))?;
    if moved.is_empty() {
        return Ok(());
    }
    if !server::may_record_move(conn)? {
        log::warn!(
            "semaphores are in another cluster, or on another timeline, than before, and this role may not record it: call \
             run_migrations once as a role with UPDATE on dbsemaphore.semaphore"
        );
        return Ok(());
    }
    in_write_transaction(conn, |conn| Ok(server::record_move(conn, &moved)?))
}

fn version(version: MigrationVersion<'_>) -> String {
    version.to_string()
}

fn in_schema(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> diesel::migration::Result<()>,
) -> Result<()> {
    let before = server::swap_search_path(conn, PATH)?;
    work(conn).map_err(Error::Migration)?;
    server::swap_search_path(conn, &before)?;
    Ok(())
}
