//! Never more than n holders, under any isolation level.

use crate::kit::{ServerDatabase, TestDatabase, on_each_server};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_dbsemaphore::{self as sem, Error};

on_each_server!(
    at_most_n_at_every_level,
    a_resize_with_an_old_snapshot_fails,
);

fn at_most_n_at_every_level<D: ServerDatabase>() {
    let database = D::with_size(2);
    for level in [
        "READ UNCOMMITTED",
        "READ COMMITTED",
        "REPEATABLE READ",
        "SERIALIZABLE",
    ] {
        let (mut a, mut b, mut c) = (database.connect(), database.connect(), database.connect());
        D::at_level(&mut a, level, |a| {
            let first = sem::require(a, "x")?;
            D::at_level(&mut b, level, |b| {
                assert_ne!(sem::require(b, "x")?.ids(), first.ids());
                D::at_level(&mut c, level, |c| {
                    assert!(sem::acquire(c, "x")?.is_none());
                    Ok(())
                })
            })
        })
        .unwrap();
        assert_eq!(database.available(), 2);
    }
}

/// It would count tickets that another resize has since added or deleted.
fn a_resize_with_an_old_snapshot_fails<D: ServerDatabase>() {
    use DatabaseErrorKind::SerializationFailure;
    type Resize<D> = fn(&mut <D as TestDatabase>::Connection) -> sem::Result<()>;
    let resizes: [Resize<D>; 4] = [
        |conn| sem::make(conn, "x", 1),
        |conn| sem::make(conn, "x", 4),
        |conn| sem::make(conn, "x", 6),
        |conn| sem::destroy(conn, "x").map(drop),
    ];
    for resize in resizes {
        let database = D::with_size(3);
        let failed = D::at_level(&mut database.connect(), "REPEATABLE READ", |conn| {
            assert_eq!(sem::list(conn)?["x"], 3);
            sem::make(&mut database.connect(), "x", 5)?;
            resize(conn)
        });
        assert!(
            matches!(
                failed,
                Err(Error::Database(DieselError::DatabaseError(
                    SerializationFailure,
                    _
                )))
            ),
            "{failed:?}"
        );
        assert_eq!(database.available(), 5);
        D::at_level(&mut database.connect(), "REPEATABLE READ", resize).unwrap();
        sem::make(&mut database.connect(), "x", 7).unwrap();
        assert_eq!(database.available(), 7);
    }
}
