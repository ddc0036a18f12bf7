//! The migrations as text, for users who run them by other means. `embed_migrations` does not return the text.

use super::functions;
use crate::{Result, pg_errors::Operation, query};
use diesel::PgConnection;

macro_rules! up {
    ($($folder:literal)*) => {
        &[$(($folder, include_str!(concat!("../../migrations/", $folder, "/up.sql")))),*]
    };
}

/// All migrations, in their order. A test compares this list with the folder.
const UP: &[(&str, &str)] = up! {
    "2026-11-25-000000_tables"
};

/// The table as Diesel creates it.
const LIST_OF_VERSIONS: &str = "CREATE TABLE dbsemaphore.__diesel_schema_migrations (\n    \
     version VARCHAR(50) PRIMARY KEY NOT NULL,\n    \
     run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP\n);\n";

/// Returns the SQL that [`run_migrations`](crate::run_migrations) would execute in this database now, or an empty
/// string if there is nothing to do.
///
/// Use this if all SQL has to be in your own migrations. The SQL records what it has done in the same tables as
/// `run_migrations`, so that both can be used after one another: see
/// [`migrating`](crate::guide::migrating#in-your-own-migrations).
///
/// # Errors
///
/// The errors of [`run_migrations`](crate::run_migrations).
///
/// ```
/// # use diesel::connection::SimpleConnection;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// use diesel_dbsemaphore as sem;
///
/// let sql = sem::pending_sql(&mut conn)?;     // print it, or write it into migrations/.../up.sql
/// conn.batch_execute(&sql)?;                  // as your migration does
/// assert_eq!(sem::pending_sql(&mut conn)?, "");
/// sem::run_migrations(&mut conn)?;            // nothing to do
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn pending_sql(conn: &mut PgConnection) -> Result<String> {
    pending(conn).map_err(|error| error.classify(conn, Operation::Migrate))
}

fn pending(conn: &mut PgConnection) -> Result<String> {
    let has_schema = super::check_owner(conn, false)?;
    let applied = super::applied(conn)?;
    let mut sql = String::new();
    if !has_schema {
        sql.push_str("CREATE SCHEMA dbsemaphore;\n");
    }
    if !query::has_table(conn, "__diesel_schema_migrations")? {
        sql.push_str(LIST_OF_VERSIONS);
    }
    for (folder, up) in UP {
        // The version as Diesel makes it from the name of a folder.
        let version = folder.split('_').next().unwrap_or(folder).replace('-', "");
        if !applied.contains(&version) {
            sql.push_str(&format!(
                "\n-- diesel-dbsemaphore: {folder}\n\n{up}\n\
                 INSERT INTO dbsemaphore.__diesel_schema_migrations (version) VALUES ('{version}');\n"
            ));
        }
    }
    if functions::are_pending(conn)? {
        sql.push_str(&functions::sql());
    }
    Ok(sql)
}
