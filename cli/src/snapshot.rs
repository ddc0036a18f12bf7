//! What `top` and `serve` show: all semaphores at one time, with the holders and waiters of some of them.

use crate::{
    database::{Connection, Database},
    fault::Fault,
    terminate::Proofs,
};
use diesel_dbsemaphore::{self as sem, Error, Holder, Usage, Waiter};
use std::collections::BTreeMap;

#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) usages: Vec<Usage>,
    pub(crate) people: BTreeMap<String, People>,
    /// What distinguishes a hold from later ones of its ticket, by ticket.
    #[cfg_attr(
        not(feature = "serve"),
        expect(dead_code, reason = "forms of the page contain them")
    )]
    pub(crate) proofs: BTreeMap<i64, String>,
}

/// The holders and waiters of a semaphore.
pub(crate) type People = (Vec<Holder>, Vec<Waiter>);

impl Snapshot {
    /// Queries all semaphores, then the holders and waiters of those that are `wanted`.
    fn query(
        conn: &mut Connection,
        wanted: impl Fn(&Usage) -> bool,
        with_proofs: bool,
    ) -> Result<Self, Fault> {
        let mut usages = sem::usage(conn)?;
        let (mut people, mut proofs) = (BTreeMap::new(), BTreeMap::new());
        for usage in usages.iter_mut().filter(|usage| wanted(usage)) {
            let of_these = if with_proofs {
                Some(Proofs::query(conn, &usage.name)?)
            } else {
                None
            };
            let these = match query_people(conn, &usage.name) {
                // It was deleted after the first query.
                Err(Error::UnknownSemaphore { .. }) => continue,
                these => these?,
            };
            // The numbers of the first query could differ, because holders change.
            usage.in_use = count(&these.0);
            usage.waiting = count(&these.1);
            let holders = these.0.iter();
            proofs.extend(holders.filter_map(|holder| {
                let proof = of_these.as_ref()?.text(holder)?;
                Some((holder.ticket, proof))
            }));
            people.insert(usage.name.clone(), these);
        }
        Ok(Self {
            usages,
            people,
            proofs,
        })
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
    with_proofs: bool,
}

impl Source {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            conn: None,
            with_proofs: false,
        }
    }

    /// Queries what forms that end holders contain, too.
    #[cfg(feature = "serve")]
    pub(crate) fn with_proofs(self, with_proofs: bool) -> Self {
        Self {
            with_proofs,
            ..self
        }
    }

    pub(crate) fn query(&mut self, wanted: impl Fn(&Usage) -> bool) -> Result<Snapshot, Fault> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.database.connect()?,
        };
        let snapshot = Snapshot::query(&mut conn, wanted, self.with_proofs)?;
        self.conn = Some(conn);
        Ok(snapshot)
    }
}
