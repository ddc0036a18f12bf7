//! What `top` and `serve` show: all semaphores at one time, with the holders and waiters of some of them.

use crate::{
    database::{Connection, Database},
    fault::Fault,
};
use diesel_dbsemaphore::{self as sem, Error, Holder, Usage, Waiter};
use std::collections::BTreeMap;

#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) usages: Vec<Usage>,
    pub(crate) people: BTreeMap<String, People>,
}

/// The holders and waiters of a semaphore.
pub(crate) type People = (Vec<Holder>, Vec<Waiter>);

impl Snapshot {
    /// Queries all semaphores, then the holders and waiters of those that are `wanted`.
    fn query(conn: &mut Connection, wanted: impl Fn(&Usage) -> bool) -> Result<Self, Fault> {
        let mut usages = sem::usage(conn)?;
        let mut people = BTreeMap::new();
        for usage in usages.iter_mut().filter(|usage| wanted(usage)) {
            let these = match query_people(conn, &usage.name) {
                // It was deleted after the first query.
                Err(Error::UnknownSemaphore { .. }) => continue,
                these => these?,
            };
            // The numbers of the first query could differ, because holders change.
            usage.in_use = count(&these.0);
            usage.waiting = count(&these.1);
            people.insert(usage.name.clone(), these);
        }
        Ok(Self { usages, people })
    }
}

fn query_people(conn: &mut Connection, name: &str) -> Result<People, Error> {
    Ok((sem::holders(conn, name)?, sem::waiters(conn, name)?))
}

fn count<T>(people: &[T]) -> u32 {
    u32::try_from(people.len()).unwrap_or(u32::MAX)
}

/// Queries snapshots on one connection, which it opens again after an error.
pub(crate) struct Source {
    database: Database,
    conn: Option<Connection>,
}

impl Source {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            conn: None,
        }
    }

    pub(crate) fn query(&mut self, wanted: impl Fn(&Usage) -> bool) -> Result<Snapshot, Fault> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.database.connect()?,
        };
        let snapshot = Snapshot::query(&mut conn, wanted)?;
        self.conn = Some(conn);
        Ok(snapshot)
    }
}
