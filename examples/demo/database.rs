//! The application's database: one type of connection for all that Diesel supports.

use crate::Fallible;
use diesel::{MultiConnection, prelude::*, sql_types::BigInt};
use diesel_dbsemaphore::{BackendConnection, TicketConnection};
use std::any::Any;

#[derive(MultiConnection)]
pub(crate) enum AnyConnection {
    #[cfg(feature = "postgres")]
    Postgres(diesel::PgConnection),
    #[cfg(feature = "mysql")]
    Mysql(diesel::MysqlConnection),
    #[cfg(feature = "sqlite")]
    Sqlite(diesel::SqliteConnection),
}

/// All that the crate needs to know of it.
impl TicketConnection for AnyConnection {
    fn backend(&mut self) -> BackendConnection<'_> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => conn.backend(),
            #[cfg(feature = "mysql")]
            Self::Mysql(conn) => conn.backend(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(conn) => conn.backend(),
        }
    }
}

/// By the scheme of the URL. A path is that of a SQLite database.
pub(crate) fn connect(url: &str) -> Fallible<AnyConnection> {
    match url.split(':').next() {
        #[cfg(feature = "postgres")]
        Some("postgres") => Ok(AnyConnection::Postgres(Connection::establish(url)?)),
        #[cfg(feature = "mysql")]
        Some("mysql") => Ok(AnyConnection::Mysql(Connection::establish(url)?)),
        #[cfg(feature = "sqlite")]
        Some(path) if path.starts_with('/') => {
            use diesel::connection::SimpleConnection;
            let mut conn = diesel::SqliteConnection::establish(url)?;
            conn.batch_execute("PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL")?;
            Ok(AnyConnection::Sqlite(conn))
        }
        _ => Err(format!("this program was compiled without the database of {url}").into()),
    }
}

/// A new database, on a private server or in a folder of its own, which ends with it.
pub(crate) struct Database {
    pub(crate) url: String,
    _keep: Box<dyn Any + Sync>,
}

impl Database {
    pub(crate) fn create(backend: &str) -> Fallible<Self> {
        let (url, _keep): (String, Box<dyn Any + Sync>) = match backend {
            #[cfg(feature = "postgres")]
            "postgres" => {
                let server = stand::postgres::Server::start();
                let database = server.create_database();
                // The database ends first.
                (database.url(), Box::new((database, server)))
            }
            #[cfg(feature = "mysql")]
            "mysql" => {
                let server = stand::mysql::Server::start();
                let database = server.create_database();
                (database.url(), Box::new((database, server)))
            }
            #[cfg(feature = "sqlite")]
            "sqlite" => {
                let folder = stand::Folder::create();
                let file = folder.path().join("demo.db").display().to_string();
                (file, Box::new(folder))
            }
            other => {
                return Err(
                    format!("this program was compiled without the backend {other:?}").into(),
                );
            }
        };
        Ok(Self { url, _keep })
    }
}

/// How many tickets there are, and how many of them are available. Does not ask the crate.
pub(crate) fn count_tickets(conn: &mut AnyConnection) -> Fallible<(i64, i64)> {
    match conn {
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(conn) => Ok((
            number(conn, "SELECT count(*) AS number FROM dbsemaphore.ticket")?,
            number(
                conn,
                "WITH available AS (SELECT FROM dbsemaphore.ticket FOR UPDATE SKIP LOCKED) \
                 SELECT count(*) AS number FROM available",
            )?,
        )),
        #[cfg(feature = "mysql")]
        AnyConnection::Mysql(conn) => Ok((
            number(conn, "SELECT COUNT(*) AS number FROM dbsemaphore_ticket")?,
            number(
                conn,
                "SELECT COUNT(*) AS number FROM dbsemaphore_ticket FOR UPDATE SKIP LOCKED",
            )?,
        )),
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(conn) => {
            let size = number(
                conn,
                "SELECT sum(last_slot - first_slot + 1) AS number FROM dbsemaphore_ticket_range",
            )?;
            Ok((size, size - locked_files(conn)?))
        }
    }
}

#[cfg(feature = "sqlite")]
fn locked_files(conn: &mut diesel::SqliteConnection) -> Fallible<i64> {
    use fs4::FileExt;
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        folder: String,
    }
    let row: Row = diesel::sql_query(
        "SELECT file || '-dbsemaphore/' || id AS folder FROM pragma_database_list, dbsemaphore_semaphore",
    )
    .get_result(conn)?;
    let mut locked = 0;
    for entry in std::fs::read_dir(row.folder)? {
        let entry = entry?;
        let is_ticket = entry.file_name().to_string_lossy().starts_with('t');
        if is_ticket && FileExt::try_lock_shared(&std::fs::File::open(entry.path())?).is_err() {
            locked += 1;
        }
    }
    Ok(locked)
}

fn number<C>(conn: &mut C, query: &'static str) -> QueryResult<i64>
where
    diesel::query_builder::SqlQuery: diesel::query_dsl::methods::LoadQuery<'static, C, Number>,
{
    diesel::sql_query(query)
        .get_result(conn)
        .map(|row: Number| row.number)
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}
