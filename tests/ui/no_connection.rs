fn main() {
    diesel_dbsemaphore::ensure(&mut "postgres://..", "reports", 3).unwrap();
}
