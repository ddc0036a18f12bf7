// @generated automatically by Diesel CLI.

pub mod dbsemaphore {
    diesel::table! {
        /// Counting semaphores. Create and resize them with this crate only.
        dbsemaphore.semaphore (id) {
            /// What `ticket.semaphore_id` refers to.
            id -> Int8,
            /// The name, 1 to 255 characters.
            name -> Text,
            /// When it was last created, or asked to be resized.
            resized_at -> Timestamptz,
            /// One more than the highest slot of its tickets. Not their number.
            slots -> Int4,
            /// Whether many of the slots have a ticket.
            dense -> Bool,
            /// How far around a random place to look for one.
            reach -> Float8,
            /// The cluster it was last in, as `pg_control_system` gives it.
            system_identifier -> Int8,
            /// The timeline it was last on.
            timeline -> Int4,
            /// The one after it, as names of WAL files begin.
            next_timeline -> Text,
            /// The high bits of its fencing tokens on that timeline. Never lower it.
            epoch -> Int4,
        }
    }

    diesel::table! {
        /// One row a ticket. Whoever holds the lock of the row holds the ticket.
        dbsemaphore.ticket (id) {
            /// What `Ticket::ids` returns. Never used again after the ticket was retired.
            id -> Int8,
            /// The semaphore. How many tickets refer to it is its size.
            semaphore_id -> Int8,
            /// Numbers the tickets of a semaphore from 0, for finding a free one fast.
            slot -> Int4,
            /// The same, scattered.
            place -> Float8,
            /// Always null. UPDATE on this column alone is the right to acquire tickets.
            lockable -> Nullable<Bool>,
        }
    }

    diesel::joinable!(ticket -> semaphore (semaphore_id));

    diesel::allow_tables_to_appear_in_same_query!(semaphore, ticket,);
}
