//! The tables in MySQL and MariaDB, in the database of the connection.

diesel::table! {
    /// Counting semaphores. Create and resize them with this crate only.
    dbsemaphore_semaphore (id) {
        /// What `dbsemaphore_ticket.semaphore_id` refers to.
        id -> Bigint,
        /// The name, 1 to 255 characters.
        name -> Varchar,
        /// When it was last created or resized.
        resized_at -> Timestamp,
        /// The number of its tickets.
        size -> Integer,
        /// One more than the highest slot of its tickets.
        slot_bound -> Integer,
    }
}

diesel::table! {
    /// One row for each ticket. The transaction that has locked the row holds the ticket.
    dbsemaphore_ticket (id) {
        /// What `Ticket::ids` returns. Never used again after the ticket was deleted.
        id -> Bigint,
        /// The semaphore. The number of tickets that refer to it is its size.
        semaphore_id -> Bigint,
        /// Numbers the tickets of a semaphore from 0.
        slot -> Integer,
        /// Always null. UPDATE on this column alone is the right to acquire tickets.
        acquire_privilege -> Nullable<Bool>,
    }
}

diesel::joinable!(dbsemaphore_ticket -> dbsemaphore_semaphore (semaphore_id));

diesel::allow_tables_to_appear_in_same_query!(dbsemaphore_semaphore, dbsemaphore_ticket,);
