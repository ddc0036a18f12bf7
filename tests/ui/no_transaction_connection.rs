use diesel_dbsemaphore::{BackendConnection, TicketConnection};

struct Elsewhere(diesel::PgConnection);

impl TicketConnection for Elsewhere {
    fn backend(&mut self) -> BackendConnection<'_> {
        self.0.backend()
    }
}

fn hold(conn: &mut Elsewhere) {
    diesel_dbsemaphore::require(conn, "reports").unwrap();
}

fn main() {
    let _ = hold;
}
