//! The queue: a table of the application's own.

use crate::Fallible;
use diesel::prelude::*;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

diesel::table! {
    job (id) {
        id -> BigInt,
        path -> Text,
        sha256 -> Nullable<Text>,
        worker -> Nullable<BigInt>,
    }
}

const TABLE: &str = "CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, path text NOT NULL, sha256 text, worker bigint)";

/// The files below these folders, in the order of their names.
pub(crate) fn files(folders: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut to_visit: Vec<PathBuf> = folders.to_vec();
    while let Some(path) = to_visit.pop() {
        let kind = fs::symlink_metadata(&path)?;
        if kind.is_file() {
            found.push(path);
        } else if kind.is_dir() && !path.ends_with(".git") && !path.ends_with("target") {
            for entry in fs::read_dir(path)? {
                to_visit.push(entry?.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn fill(conn: &mut PgConnection, files: &[PathBuf]) -> Fallible<()> {
    diesel::sql_query(TABLE).execute(conn)?;
    for some in files.chunks(1000) {
        let rows: Vec<_> = some
            .iter()
            .map(|file| job::path.eq(file.to_string_lossy()))
            .collect();
        diesel::insert_into(job::table).values(rows).execute(conn)?;
    }
    Ok(())
}

/// Takes a job that nobody has, until the end of the transaction.
pub(crate) fn take(conn: &mut PgConnection) -> QueryResult<Option<(i64, String)>> {
    job::table
        .filter(job::sha256.is_null())
        .order(job::id)
        .select((job::id, job::path))
        .for_update()
        .skip_locked()
        .first(conn)
        .optional()
}

pub(crate) fn finish(conn: &mut PgConnection, id: i64, sha256: &str) -> QueryResult<()> {
    diesel::update(job::table.find(id))
        .set((
            job::sha256.eq(sha256),
            job::worker.eq(i64::from(std::process::id())),
        ))
        .execute(conn)
        .map(drop)
}

pub(crate) fn count_open(conn: &mut PgConnection) -> QueryResult<i64> {
    job::table
        .filter(job::sha256.is_null())
        .count()
        .get_result(conn)
}

/// How many jobs were done right: looked at again, one by one.
pub(crate) fn count_right(conn: &mut PgConnection) -> Fallible<usize> {
    let done: Vec<(String, Option<String>)> =
        job::table.select((job::path, job::sha256)).load(conn)?;
    let mut right = 0;
    for (path, sha256) in done {
        right += usize::from(sha256 == Some(digest(Path::new(&path))));
    }
    Ok(right)
}

/// Of a file that can't be read, that it can't be: such a job is done, too.
pub(crate) fn digest(path: &Path) -> String {
    let mut hasher = Sha256::new();
    match File::open(path).and_then(|mut file| io::copy(&mut file, &mut hasher)) {
        Ok(_) => format!("{:x}", hasher.finalize()),
        Err(error) => error.kind().to_string(),
    }
}
