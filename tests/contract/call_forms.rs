//! Each form of connection that the public calls accept.

use crate::kit::{ServerDatabase, TestDatabase, on_each_backend, on_each_server};
use diesel::{Connection, MultiConnection};
use diesel_dbsemaphore::{
    self as sem, BackendConnection, Error, SemaphoreTicket, TicketConnection, TransactionConnection,
};

on_each_backend!(
    a_guard_on_each_form_of_connection_returns_what_it_was_given,
    other_calls_on_each_form_of_connection,
    a_multi_connection_can_all_that_its_connection_can,
    transaction_holds_the_ticket_and_ends_as_diesel_does,
);

on_each_server!(
    your_transaction_on_each_form_of_connection,
    transaction_in_a_transaction_holds_the_ticket_until_that_ends,
);

fn your_transaction_on_each_form_of_connection<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut plain = database.connect();
    plain.transaction(|c| sem::require(c, "x")).unwrap();
    plain.transaction(|c| sem::acquire(c, "x")).unwrap();
    let borrowed: &mut D::Connection = &mut plain;
    borrowed.transaction(|c| sem::require(c, "x")).unwrap();
    let pool = database.pool(1);
    let mut pooled = pool.get().unwrap();
    pooled.transaction(|c| sem::require(c, "x")).unwrap();
    (*pooled).transaction(|c| sem::require(c, "x")).unwrap();
    let mut boxed = Box::new(plain);
    boxed.transaction(|c| sem::require(c, "x")).unwrap();
    assert_eq!(database.available(), 1);
}

fn a_guard_on_each_form_of_connection_returns_what_it_was_given<D: TestDatabase>() {
    let database = D::with_size(1);
    let pool = database.pool(1);
    let pooled = SemaphoreTicket::require(pool.get().unwrap(), "x").unwrap();
    let mut pooled = pooled.release().unwrap();
    drop(SemaphoreTicket::require(&mut pooled, "x").unwrap());
    drop(SemaphoreTicket::require(&mut *pooled, "x").unwrap());
    let plain: D::Connection = SemaphoreTicket::require(database.connect(), "x")
        .unwrap()
        .release()
        .unwrap();
    let mut boxed: Box<D::Connection> = SemaphoreTicket::require(Box::new(plain), "x")
        .unwrap()
        .release()
        .unwrap();
    let mut dynamic: Box<dyn TicketConnection> = Box::new(database.connect());
    drop(SemaphoreTicket::require(&mut dynamic, "x").unwrap());
    let borrowed: &mut D::Connection = SemaphoreTicket::require(&mut *boxed, "x")
        .unwrap()
        .release()
        .unwrap();
    sem::list(borrowed).unwrap();
}

fn other_calls_on_each_form_of_connection<D: TestDatabase>() {
    let database = D::with_size(1);
    let pool = database.pool(1);
    let mut pooled = pool.get().unwrap();
    sem::run_migrations(&mut pooled).unwrap();
    sem::ensure(&mut *pooled, "x", 1).unwrap();
    let mut plain = database.connect();
    let mut borrowed = &mut plain;
    sem::make(&mut borrowed, "x", 2).unwrap();
    sem::make(borrowed, "x", 1).unwrap();
    let mut boxed: Box<dyn TicketConnection> = Box::new(plain);
    assert_eq!(sem::usage(&mut boxed).unwrap()[0].size, 1);
    assert_eq!(sem::holders(&mut *boxed, "x").unwrap(), []);
    assert_eq!(sem::waiters(&mut *boxed, "x").unwrap(), []);
}

#[derive(MultiConnection)]
enum AnyConnection {
    #[cfg(feature = "mysql")]
    Mysql(diesel::MysqlConnection),
    #[cfg(feature = "postgres")]
    Postgres(diesel::PgConnection),
}

impl TicketConnection for AnyConnection {
    fn backend(&mut self) -> BackendConnection<'_> {
        match self {
            #[cfg(feature = "mysql")]
            Self::Mysql(conn) => conn.backend(),
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => conn.backend(),
        }
    }
}

impl TransactionConnection for AnyConnection {}

fn a_multi_connection_can_all_that_its_connection_can<D: TestDatabase>() {
    let database = D::with_size(1);
    let mut conn = AnyConnection::establish(&database.url()).unwrap();
    sem::run_migrations(&mut conn).unwrap();
    let guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    assert_eq!(database.available(), 0);
    guard.release().unwrap();
    let held = sem::transaction::<_, _, Error>(&mut conn, "x", |_, ticket| {
        assert_eq!(database.available(), 0);
        Ok(ticket.ids().len())
    });
    assert_eq!(held.unwrap(), 1);
    assert_eq!(database.available(), 1);
}

fn transaction_holds_the_ticket_and_ends_as_diesel_does<D: TestDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    let failed = sem::transaction(&mut conn, "x", |conn, _| {
        sem::ensure(conn, "y", 1)?;
        Err::<(), _>(Error::NotMigrated)
    });
    assert!(matches!(failed, Err(Error::NotMigrated)));
    assert!(!sem::list(&mut conn).unwrap().contains_key("y"));
    sem::transaction(&mut conn, "x", |conn, _| sem::ensure(conn, "y", 1)).unwrap();
    assert_eq!(sem::list(&mut conn).unwrap()["y"], 1);
    assert_eq!(database.available(), 1);

    let _guard = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let busy = sem::transaction(&mut conn, "x", |_, _| -> sem::Result<()> {
        panic!("without a ticket")
    });
    assert!(matches!(busy, Err(Error::Unavailable { .. })), "{busy:?}");
}

fn transaction_in_a_transaction_holds_the_ticket_until_that_ends<D: ServerDatabase>() {
    let database = D::with_size(1);
    let mut conn = database.connect();
    conn.transaction::<_, Error, _>(|conn| {
        sem::transaction::<_, _, Error>(conn, "x", |_, _| Ok(()))?;
        assert_eq!(database.available(), 0);
        Ok(())
    })
    .unwrap();
    assert_eq!(database.available(), 1);
}
