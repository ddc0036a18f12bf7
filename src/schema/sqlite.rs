//! The tables in SQLite, in the database of the connection. Attached and temporary databases may have tables of the same names.

diesel::table! {
    /// Counting semaphores. Create and resize them with this crate only.
    main.dbsemaphore_semaphore (id) {
        /// What `dbsemaphore_ticket_range.semaphore_id` refers to. Never used again after the semaphore was destroyed.
        id -> BigInt,
        /// The name, 1 to 255 characters.
        name -> Text,
    }
}

diesel::table! {
    /// The tickets of each semaphore, as ranges of slots. The tickets themselves are locked files beside the database.
    main.dbsemaphore_ticket_range (semaphore_id, first_slot) {
        /// The semaphore. The number of slots in all of its ranges is its size.
        semaphore_id -> BigInt,
        /// The first slot.
        first_slot -> BigInt,
        /// The last slot, which belongs to the range.
        last_slot -> BigInt,
    }
}

diesel::joinable!(dbsemaphore_ticket_range -> dbsemaphore_semaphore (semaphore_id));

diesel::allow_tables_to_appear_in_same_query!(dbsemaphore_semaphore, dbsemaphore_ticket_range);
