#[derive(diesel::MultiConnection)]
enum AnyConnection {
    Postgres(diesel::PgConnection),
}

fn guard(conn: AnyConnection) {
    let _ticket = diesel_dbsemaphore::SemaphoreTicket::require(conn, "reports").unwrap();
}

fn main() {
    let _ = guard;
}
