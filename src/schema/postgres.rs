// @generated automatically by Diesel CLI.

pub mod dbsemaphore {
    diesel::table! {
        /// Which version of its functions this schema has.
        dbsemaphore.function_version (only_row) {
            /// Always true.
            only_row -> Bool,
            /// A process with an older version leaves the functions as they are.
            version -> Int4,
            /// Of the text of the functions.
            checksum -> Text,
        }
    }

    diesel::table! {
        /// Counting semaphores. Create and resize them with this crate only.
        dbsemaphore.semaphore (id) {
            /// What `ticket.semaphore_id` refers to.
            id -> Int8,
            /// The name, 1 to 255 characters.
            name -> Text,
            /// When `make` or `ensure` last created or resized it.
            resized_at -> Timestamptz,
            /// One more than the highest slot of its tickets. Not their number.
            slot_bound -> Int4,
            /// The cluster where it was last seen, as `pg_control_system` gives it; 0 if unknown.
            system_identifier -> Int8,
            /// The timeline where it was last seen.
            timeline -> Int4,
            /// The timeline after that, as names of WAL files begin.
            next_timeline -> Text,
            /// The high bits of its fencing tokens on that timeline. Never decrease it.
            epoch -> Int4,
        }
    }

    diesel::table! {
        /// One row for each ticket. The transaction that has locked the row holds the ticket.
        dbsemaphore.ticket (id) {
            /// What `Ticket::ids` returns. Never used again after the ticket was deleted.
            id -> Int8,
            /// The semaphore. The number of tickets that refer to it is its size.
            semaphore_id -> Int8,
            /// Numbers the tickets of a semaphore from 0.
            slot -> Int4,
            /// The bits of `slot` in reverse: the order in which one available ticket is searched.
            search_key -> Int4,
            /// Always null. UPDATE on this column alone is the right to acquire tickets.
            acquire_privilege -> Nullable<Bool>,
        }
    }

    diesel::joinable!(ticket -> semaphore (semaphore_id));

    diesel::allow_tables_to_appear_in_same_query!(function_version, semaphore, ticket,);
}
