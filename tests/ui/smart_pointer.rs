use std::cell::RefCell;

fn count(conn: &RefCell<diesel::PgConnection>) -> usize {
    diesel_dbsemaphore::list(&mut conn.borrow_mut()).unwrap().len()
}

fn main() {
    let _ = count;
}
