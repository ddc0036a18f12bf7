//! The tables in the database, and the statements that read them. Diesel prepares each once for a connection.

use super::{busy, slots::Slots};
use crate::{
    Result,
    schema::sqlite::{
        dbsemaphore_semaphore as semaphore, dbsemaphore_ticket_range as ticket_range,
    },
};
use diesel::{
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Binary, Integer, Nullable, Text},
    sqlite::Sqlite,
};
use std::path::PathBuf;

/// A row of the table of semaphores, and its ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Semaphore {
    pub(super) id: i64,
    pub(super) slots: Slots,
}

impl Semaphore {
    /// The id of a ticket, unique over all semaphores of the database.
    pub(super) fn ticket_id(&self, slot: u32) -> i64 {
        const SLOT_BITS: u32 = 20;
        (self.id << SLOT_BITS) | i64::from(slot)
    }
}

/// Reads a semaphore as it is now. `None` if there is none of that name.
pub(super) fn find(conn: &mut SqliteConnection, name: &str) -> Result<Option<Semaphore>> {
    let rows: Vec<(i64, Option<i64>, Option<i64>)> = busy::retry(|| {
        semaphore::table
            .left_join(ticket_range::table)
            .filter(semaphore::name.eq(name))
            .order(ticket_range::first_slot)
            .select((
                semaphore::id,
                ticket_range::first_slot.nullable(),
                ticket_range::last_slot.nullable(),
            ))
            .load(conn)
    })?;
    let Some((id, _, _)) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Semaphore {
        id: *id,
        slots: rows
            .iter()
            .filter_map(|(_, first, last)| {
                Some(u32::try_from((*first)?).ok()?..=u32::try_from((*last)?).ok()?)
            })
            .collect(),
    }))
}

/// Names and numbers of tickets of all semaphores, in the order of names.
pub(super) fn sizes(conn: &mut SqliteConnection) -> Result<Vec<(String, i64)>> {
    let rows: Vec<(String, Option<i64>, Option<i64>)> = busy::retry(|| {
        semaphore::table
            .left_join(ticket_range::table)
            .order(semaphore::name)
            .select((
                semaphore::name,
                ticket_range::first_slot.nullable(),
                ticket_range::last_slot.nullable(),
            ))
            .load(conn)
    })?;
    let mut sizes: Vec<(String, i64)> = Vec::new();
    for (name, first, last) in rows {
        let length = first.zip(last).map_or(0, |(first, last)| last - first + 1);
        match sizes.last_mut() {
            Some((same, size)) if *same == name => *size += length,
            _ => sizes.push((name, length)),
        }
    }
    Ok(sizes)
}

/// Returns `None` if there is one of that name.
pub(super) fn insert(conn: &mut SqliteConnection, name: &str) -> QueryResult<Option<i64>> {
    let inserted = diesel::insert_into(semaphore::table)
        .values(semaphore::name.eq(name))
        .on_conflict_do_nothing()
        .execute(conn)?;
    if inserted == 0 {
        return Ok(None);
    }
    semaphore::table
        .filter(semaphore::name.eq(name))
        .select(semaphore::id)
        .first(conn)
        .map(Some)
}

pub(super) fn replace_slots(
    conn: &mut SqliteConnection,
    semaphore_id: i64,
    slots: &Slots,
) -> QueryResult<()> {
    delete_slots(conn, semaphore_id)?;
    for range in slots.ranges() {
        diesel::insert_into(ticket_range::table)
            .values((
                ticket_range::semaphore_id.eq(semaphore_id),
                ticket_range::first_slot.eq(i64::from(*range.start())),
                ticket_range::last_slot.eq(i64::from(*range.end())),
            ))
            .execute(conn)?;
    }
    Ok(())
}

fn delete_slots(conn: &mut SqliteConnection, semaphore_id: i64) -> QueryResult<usize> {
    let of_semaphore = ticket_range::semaphore_id.eq(semaphore_id);
    diesel::delete(ticket_range::table.filter(of_semaphore)).execute(conn)
}

pub(super) fn delete(conn: &mut SqliteConnection, semaphore_id: i64) -> QueryResult<()> {
    delete_slots(conn, semaphore_id)?;
    diesel::delete(semaphore::table.find(semaphore_id))
        .execute(conn)
        .map(drop)
}

/// The file of the database, without links in its path. `None` if the database has no file.
pub(super) fn database_path(conn: &mut SqliteConnection) -> QueryResult<Option<PathBuf>> {
    let databases: Vec<(i32, String, Option<Vec<u8>>)> = DatabaseList.load(conn)?;
    let main = databases.into_iter().find(|(_, name, _)| name == "main");
    let path = main
        .and_then(|(_, _, path)| path)
        .filter(|path| !path.is_empty());
    Ok(path.map(into_path))
}

#[cfg(unix)]
fn into_path(path: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(path).into()
}

#[cfg(not(unix))]
fn into_path(path: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&path).into_owned().into()
}

/// A query fragment of its own, because Diesel does not cache the prepared statement of `sql_query`.
#[derive(QueryId)]
struct DatabaseList;

impl QueryFragment<Sqlite> for DatabaseList {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("PRAGMA database_list");
        Ok(())
    }
}

impl Query for DatabaseList {
    type SqlType = (Integer, Text, Nullable<Binary>);
}

impl RunQueryDsl<SqliteConnection> for DatabaseList {}
