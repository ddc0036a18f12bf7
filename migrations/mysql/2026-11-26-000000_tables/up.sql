-- Each ticket is a row. A transaction holds a ticket while it holds the lock of the row. No column says who holds what: InnoDB
-- releases the lock when the transaction ends, by commit, rollback or crash.
--
-- DDL commits implicitly. So each statement can run again after a crash between two of them.

CREATE TABLE IF NOT EXISTS dbsemaphore_semaphore (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- Names are equal if their characters are, trailing spaces included. Each server has one collation for that.
    name varchar(255) CHARACTER SET utf8mb4
        COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */
        NOT NULL COMMENT 'The name, 1 to 255 characters.',
    resized_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'When it was last created or resized.',
    size int NOT NULL COMMENT 'The number of its tickets.',
    -- A shrink deletes available tickets first, whatever their slots. If it has left gaps, this is greater than the size.
    slot_bound int NOT NULL COMMENT 'One more than the highest slot of its tickets.',
    UNIQUE KEY dbsemaphore_semaphore_name (name),
    CONSTRAINT dbsemaphore_semaphore_size CHECK (size >= 0 AND slot_bound >= size)
) ENGINE = InnoDB COMMENT 'Counting semaphores. Create and resize them with diesel-dbsemaphore only.';

-- The primary key is what a request looks up. A second unique index with slots would not do: to insert a slot that was there before,
-- InnoDB locks the neighbour in such an index, and would wait for its holder.
CREATE TABLE IF NOT EXISTS dbsemaphore_ticket (
    id bigint NOT NULL AUTO_INCREMENT UNIQUE COMMENT 'Never used again after the ticket was deleted.',
    semaphore_id bigint NOT NULL,
    slot int NOT NULL COMMENT 'Numbers the tickets of a semaphore from 0.',
    -- Never written. UPDATE on this column alone is the right to acquire tickets, without the right to change one.
    acquire_privilege bool NULL COMMENT 'Always null.',
    PRIMARY KEY (semaphore_id, slot),
    CONSTRAINT dbsemaphore_ticket_semaphore FOREIGN KEY (semaphore_id) REFERENCES dbsemaphore_semaphore (id)
) ENGINE = InnoDB COMMENT 'The transaction that has locked a row holds the ticket.';

-- A waiter, and a guard with a label, inserts a row and never commits it. READ UNCOMMITTED shows these rows to others. A row ends
-- with its transaction, however that ends. No foreign key: its lock would wait for a resize.
CREATE TABLE IF NOT EXISTS dbsemaphore_request (
    id bigint NOT NULL PRIMARY KEY COMMENT 'A random number.',
    semaphore_id bigint NOT NULL,
    connection_id bigint unsigned NOT NULL,
    wait_number bigint NULL COMMENT 'Null after the request has acquired its tickets.',
    tickets int NOT NULL,
    label varchar(40) CHARACTER SET ascii COLLATE ascii_bin NULL,
    since datetime(6) NOT NULL COMMENT 'In UTC.'
) ENGINE = InnoDB COMMENT 'Who waits, and the labels of guards, as uncommitted rows.';
