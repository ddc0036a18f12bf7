//! The functions in `sql/postgres`. `run_migrations` replaces all of them when their text has changed, so that a
//! change of a function is a change of its file. Unlike tables, they have no history.

use super::server::{self, FunctionVersion};
use crate::{Error, Result, backend::transaction::in_read_scope};
use diesel::{PgConnection, connection::SimpleConnection};
use std::fmt::Write;

macro_rules! files {
    ($($name:literal)*) => {
        &[$((
            concat!("sql/postgres/", $name, ".sql"),
            include_str!(concat!("../../../sql/postgres/", $name, ".sql")),
        )),*]
    };
}

/// The files, in an order in which each function comes after those that its declaration refers to. PostgreSQL looks
/// these up when it creates the function.
pub(super) const FILES: &[(&str, &str)] = files! {
    "advisory_locks"
    "transaction_settings"
    "row_security"
    "fencing"
    "held_tickets"
    "search"
    "try_acquire"
    "queue_head"
    "queue"
    "resize"
    "inspect"
};

/// The beginning of each declaration of a function.
const CREATE: &str = "CREATE OR REPLACE FUNCTION dbsemaphore.";

/// Returns the version of this crate: 1,002,003 is 1.2.3.
fn version() -> i32 {
    [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ]
    .iter()
    .fold(0, |version, part| {
        version * 1000 + part.parse::<i32>().unwrap_or(0)
    })
}

/// Returns the FNV-1a hash, 64 bits, of all files. A cryptographic hash is not needed: nobody gains anything by a
/// collision.
fn checksum() -> String {
    let hash = FILES
        .iter()
        .flat_map(|(_, text)| text.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    format!("{hash:016x}")
}

/// Returns whether functions have to be installed. Functions of a newer version of this crate remain.
pub(super) fn are_pending(conn: &mut PgConnection) -> Result<bool> {
    in_read_scope(conn, |conn| {
        if !server::has_table(conn, "function_version")? {
            return Ok(true);
        }
        match server::function_version(conn)? {
            Some(FunctionVersion {
                version: theirs,
                checksum: installed,
            }) => Ok(theirs <= version() && installed != checksum()),
            None if server::is_filtered(conn, "function_version")? => Err(Error::Migration(
                "row level security hides the row of dbsemaphore.function_version from this role: disable it for that table, or \
                 give the role the attribute BYPASSRLS"
                    .into(),
            )),
            None => Ok(true),
        }
    })
}

/// Returns the SQL that installs the functions.
pub(super) fn sql() -> String {
    let mut sql = String::new();
    for (file, text) in FILES {
        let _ = write!(sql, "\n-- diesel-dbsemaphore: {file}\n\n{text}");
    }
    // For databases whose owner has revoked this by default: USAGE on the schema is the right to call them.
    let _ = write!(
        sql,
        "\nGRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dbsemaphore TO PUBLIC;\n\
         INSERT INTO dbsemaphore.function_version (version, checksum) VALUES ({}, '{}')\n    \
         ON CONFLICT (only_row) DO UPDATE SET version = excluded.version, checksum = excluded.checksum;\n",
        version(),
        checksum()
    );
    sql
}

/// Drops each function that one of the files creates.
pub(super) fn drop_all(conn: &mut PgConnection) -> Result<()> {
    let names: Vec<&str> = FILES
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.strip_prefix(CREATE)?.split('(').next())
        .collect();
    let signatures = server::function_signatures(conn, &names)?;
    if !signatures.is_empty() {
        conn.batch_execute(&format!("DROP FUNCTION {}", signatures.join(", ")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{CREATE, FILES};
    use std::{collections::BTreeSet, fs, path::Path};

    #[test]
    fn each_file_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/postgres");
        let files: BTreeSet<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                format!(
                    "sql/postgres/{}",
                    entry.unwrap().file_name().to_string_lossy()
                )
            })
            .collect();
        let listed: BTreeSet<_> = FILES.iter().map(|(file, _)| (*file).to_owned()).collect();
        assert_eq!(listed, files);
    }

    #[test]
    fn each_function_is_declared_so_that_it_can_be_dropped() {
        for (file, text) in FILES {
            for line in text.lines().filter(|line| line.contains("FUNCTION ")) {
                assert!(
                    line.starts_with("--") || line.starts_with(CREATE),
                    "{file}: {line}"
                );
            }
        }
    }
}
