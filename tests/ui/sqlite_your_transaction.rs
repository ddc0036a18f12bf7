use diesel::{Connection, SqliteConnection};

fn hold(conn: &mut SqliteConnection) {
    conn.transaction::<_, diesel_dbsemaphore::Error, _>(|conn| {
        diesel_dbsemaphore::require(conn, "reports").map(drop)
    })
    .unwrap();
}

fn main() {
    let _ = hold;
}
