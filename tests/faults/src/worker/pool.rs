//! The pool of a worker.

use crate::{
    arena::{Place, Urls},
    backend::Backend,
};
use diesel::{
    connection::CacheSize,
    r2d2::{
        ConnectionManager, CustomizeConnection, Error as PoolError, Pool, PooledConnection,
        R2D2Connection,
    },
};
use std::time::Duration;

pub(super) type Manager<B> = ConnectionManager<<B as Backend>::Connection>;
pub(super) type Pooled<B> = PooledConnection<Manager<B>>;

/// PgBouncer in transaction mode has no prepared statements before 1.21.
#[derive(Debug)]
struct Uncached;

impl<C: R2D2Connection + 'static> CustomizeConnection<C, PoolError> for Uncached {
    fn on_acquire(&self, conn: &mut C) -> Result<(), PoolError> {
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        Ok(())
    }
}

pub(super) fn pool<B: Backend>(urls: &Urls, place: Place) -> Pool<Manager<B>> {
    let pool = Pool::builder()
        .max_size(1)
        .min_idle(Some(0))
        .connection_timeout(Duration::from_secs(1));
    let manager = Manager::<B>::new(urls.of(place));
    if place == Place::BehindPooler {
        pool.connection_customizer(Box::new(Uncached))
            .build_unchecked(manager)
    } else {
        pool.build_unchecked(manager)
    }
}
