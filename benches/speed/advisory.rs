//! Advisory locks by hand.

use crate::{
    contestants::{Contestant, ROW_LOCK, begin, contestant, rollback},
    kit::Client,
};
use diesel::{prelude::*, sql_types::BigInt};

#[diesel::declare_sql_function]
extern "SQL" {
    fn pg_try_advisory_lock(key: BigInt) -> Bool;
    fn pg_advisory_unlock(key: BigInt) -> Bool;
    /// Returns void; to be executed without reading what it returns.
    fn pg_advisory_xact_lock(key: BigInt) -> Bool;
}

pub(crate) const TRY_ADVISORY: Contestant =
    contestant("pg_try_advisory_lock over n keys", ROW_LOCK, try_advisory);
/// For one ticket only.
pub(crate) const ONE_ADVISORY: Contestant =
    contestant("pg_advisory_xact_lock, n = 1", ROW_LOCK, one_advisory);

/// One key after another, from a place that depends on the client, so that they don't all try the first.
fn try_advisory(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    let tickets = i64::from(client.tickets);
    for step in 0..tickets {
        let key = (i64::from(client.number) + step) % tickets;
        let locked: bool = diesel::select(pg_try_advisory_lock(key))
            .get_result(&mut client.conn)
            .unwrap();
        if locked {
            work();
            return diesel::select(pg_advisory_unlock(key))
                .get_result(&mut client.conn)
                .unwrap();
        }
    }
    false
}

fn one_advisory(client: &mut Client, work: &mut dyn FnMut()) -> bool {
    begin(&mut client.conn);
    // Its key is none of those above. Waits until the lock is available.
    diesel::select(pg_advisory_xact_lock(-1))
        .execute(&mut client.conn)
        .unwrap();
    work();
    rollback(&mut client.conn);
    true
}
