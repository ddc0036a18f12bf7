use crate::{Fallible, config::Config};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl,
    r2d2::{ConnectionManager, CustomizeConnection, Error, Pool},
    sql_types::Text,
};
use std::time::Duration;

pub(crate) type PgPool = Pool<ConnectionManager<PgConnection>>;

/// One for tickets, and one for everything else: see the head of this crate.
pub(crate) struct Pools {
    pub(crate) tickets: PgPool,
    pub(crate) work: PgPool,
}

impl Pools {
    pub(crate) fn open(config: &Config) -> Fallible<Self> {
        let open = |name, size| {
            Pool::builder()
                .max_size(size)
                // Opens connections when they are needed, and closes them again after some idle minutes.
                .min_idle(Some(0))
                .connection_timeout(Duration::from_secs(1))
                .connection_customizer(Box::new(Named(name)))
                .build(ConnectionManager::new(&config.database_url))
        };
        Ok(Self {
            tickets: open("web (tickets)", config.ticket_connections)?,
            work: open("web", config.work_connections)?,
        })
    }
}

/// Tells the database, and whoever looks at it, who is connected: the `application_name`.
#[derive(Debug)]
struct Named(&'static str);

impl CustomizeConnection<PgConnection, Error> for Named {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let named: QueryResult<usize> =
            diesel::sql_query("SELECT set_config('application_name', $1, false)")
                .bind::<Text, _>(self.0)
                .execute(conn);
        named.map(|_| ()).map_err(Error::QueryError)
    }
}
