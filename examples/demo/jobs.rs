//! The jobs: a table of the application's own.

use crate::{Fallible, database::AnyConnection};
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
        /// Under which ticket somebody works on it, and with which fencing token.
        ticket -> Nullable<BigInt>,
        token -> Nullable<BigInt>,
    }
}

const TABLE: &str = "CREATE TABLE job (id bigint PRIMARY KEY, path text NOT NULL, sha256 text, ticket bigint, token bigint)";

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

pub(crate) fn fill(conn: &mut AnyConnection, files: &[PathBuf]) -> Fallible<()> {
    diesel::sql_query(TABLE).execute(conn)?;
    conn.transaction(|conn| {
        for (id, file) in (0_i64..).zip(files) {
            diesel::insert_into(job::table)
                .values((job::id.eq(id), job::path.eq(file.to_string_lossy())))
                .execute(conn)?;
        }
        Ok(())
    })
}

/// Claims a job for the holder of a ticket. An unfinished job of the same ticket is that of a former holder, which has died.
pub(crate) fn claim(
    conn: &mut AnyConnection,
    ticket: i64,
    token: i64,
) -> QueryResult<Option<(i64, String)>> {
    loop {
        let next: Option<(i64, String)> = job::table
            .filter(job::sha256.is_null())
            .filter(job::ticket.is_null().or(job::ticket.eq(ticket)))
            .order(job::id)
            .select((job::id, job::path))
            .first(conn)
            .optional()?;
        let Some((id, path)) = next else {
            return Ok(None);
        };
        let claimed = diesel::update(job::table)
            .filter(job::id.eq(id))
            .filter(job::sha256.is_null())
            .filter(job::ticket.is_null().or(job::ticket.eq(ticket)))
            .set((job::ticket.eq(ticket), job::token.eq(token)))
            .execute(conn)?;
        // Otherwise another worker was faster.
        if claimed == 1 {
            return Ok(Some((id, path)));
        }
    }
}

/// The token keeps out a former holder of the ticket.
pub(crate) fn finish(conn: &mut AnyConnection, id: i64, token: i64, sha256: &str) -> Fallible<()> {
    let finished = diesel::update(job::table)
        .filter(job::id.eq(id))
        .filter(job::token.eq(token))
        .set(job::sha256.eq(sha256))
        .execute(conn)?;
    if finished == 1 {
        Ok(())
    } else {
        Err(format!("job {id} has been claimed by a later holder of the ticket").into())
    }
}

pub(crate) fn count_open(conn: &mut AnyConnection) -> QueryResult<i64> {
    job::table
        .filter(job::sha256.is_null())
        .count()
        .get_result(conn)
}

/// How many jobs were done right: looked at again, one by one.
pub(crate) fn count_right(conn: &mut AnyConnection) -> Fallible<usize> {
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
