//! Never more than n holders, under any isolation level.

use crate::kit::{ServerDatabase, on_each_server};
use diesel_dbsemaphore as sem;

on_each_server!(at_most_n_at_every_level,);

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
