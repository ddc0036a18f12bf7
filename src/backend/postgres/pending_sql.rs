//! The migrations as text, for users who run them by other means. `embed_migrations` does not return the text.

use super::{functions, migrations, server};
use crate::Result;
use diesel::PgConnection;

macro_rules! up {
    ($($folder:literal)*) => {
        &[$(($folder, include_str!(concat!("../../../migrations/postgres/", $folder, "/up.sql")))),*]
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

pub(super) fn pending_sql(conn: &mut PgConnection) -> Result<String> {
    let has_schema = migrations::check_owner(conn, false)?;
    let applied = migrations::applied(conn)?;
    let mut sql = String::new();
    if !has_schema {
        sql.push_str("CREATE SCHEMA dbsemaphore;\n");
    }
    if !server::has_table(conn, "__diesel_schema_migrations")? {
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
