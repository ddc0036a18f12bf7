-- Each ticket is a row. A transaction holds a ticket while it holds the lock of the row. No column says who holds what:
-- PostgreSQL releases the lock when the transaction ends, by commit, rollback or crash. The functions are in sql/postgres.

CREATE TABLE dbsemaphore.semaphore (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- "C": names are equal if their bytes are, whatever collation the database has or gets by an upgrade.
    name text COLLATE "C" NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 255),
    -- Each `make` writes this. Under REPEATABLE READ, a resize that does not see an earlier one then fails with a serialization
    -- error, instead of counting rows that it can't see.
    resized_at timestamptz NOT NULL DEFAULT now(),
    -- One more than the highest slot. A search stops here: above, there may be deleted tickets that VACUUM has not removed.
    slot_bound integer NOT NULL DEFAULT 0 CHECK (slot_bound >= 0),
    -- PostgreSQL increases its timeline when a standby is promoted, but a new cluster, filled by pg_upgrade or from a
    -- dump, begins with timeline 1 again. These columns move with a semaphore: the cluster and timeline where it was last
    -- seen, and the high bits of its fencing tokens there. 0 where the server refuses to tell the cluster or timeline.
    system_identifier bigint NOT NULL,
    timeline integer NOT NULL,
    -- The name of the first WAL file of the next timeline begins with this. Comparing names is cheaper than computing
    -- a timeline.
    next_timeline text COLLATE "C" NOT NULL GENERATED ALWAYS AS (upper(lpad(to_hex(timeline + 1), 8, '0'))) STORED,
    epoch integer NOT NULL CHECK (epoch >= 0)
);

CREATE TABLE dbsemaphore.ticket (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    semaphore_id bigint NOT NULL REFERENCES dbsemaphore.semaphore (id),
    -- Numbers the tickets of a semaphore from 0. A shrink may leave gaps, which a growth fills first.
    slot integer NOT NULL CHECK (slot >= 0),
    -- The bits of the slot in reverse. Neighbours in this order are far apart as slots, and however many slots there are,
    -- their keys are spread evenly from 0 to 2^31. So a range of keys holds a known number of tickets, and an available one
    -- even if a run of slots is held.
    search_key integer NOT NULL GENERATED ALWAYS AS (reverse(slot::bit(31)::text)::bit(31)::integer) STORED,
    -- Never written. UPDATE on this column alone is the right to acquire tickets, without the right to change one.
    acquire_privilege boolean CHECK (acquire_privilege IS NULL),
    UNIQUE (semaphore_id, slot),
    UNIQUE (semaphore_id, search_key)
);

-- Which version of the functions is installed. The checksum is that of their text.
CREATE TABLE dbsemaphore.function_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL,
    checksum text COLLATE "C" NOT NULL
);

-- The Rust module `schema` has its documentation from these comments.
COMMENT ON TABLE dbsemaphore.semaphore IS 'Counting semaphores. Create and resize them with this crate only.';
COMMENT ON COLUMN dbsemaphore.semaphore.id IS 'What `ticket.semaphore_id` refers to.';
COMMENT ON COLUMN dbsemaphore.semaphore.name IS 'The name, 1 to 255 characters.';
COMMENT ON COLUMN dbsemaphore.semaphore.resized_at IS 'When `make` or `ensure` last created or resized it.';
COMMENT ON COLUMN dbsemaphore.semaphore.slot_bound IS 'One more than the highest slot of its tickets. Not their number.';
COMMENT ON COLUMN dbsemaphore.semaphore.system_identifier IS 'The cluster where it was last seen, as `pg_control_system` gives it; 0 if unknown.';
COMMENT ON COLUMN dbsemaphore.semaphore.timeline IS 'The timeline where it was last seen.';
COMMENT ON COLUMN dbsemaphore.semaphore.next_timeline IS 'The timeline after that, as names of WAL files begin.';
COMMENT ON COLUMN dbsemaphore.semaphore.epoch IS 'The high bits of its fencing tokens on that timeline. Never decrease it.';
COMMENT ON TABLE dbsemaphore.ticket IS 'One row for each ticket. The transaction that has locked the row holds the ticket.';
COMMENT ON COLUMN dbsemaphore.ticket.id IS 'What `Ticket::ids` returns. Never used again after the ticket was deleted.';
COMMENT ON COLUMN dbsemaphore.ticket.semaphore_id IS 'The semaphore. The number of tickets that refer to it is its size.';
COMMENT ON COLUMN dbsemaphore.ticket.slot IS 'Numbers the tickets of a semaphore from 0.';
COMMENT ON COLUMN dbsemaphore.ticket.search_key IS 'The bits of `slot` in reverse: the order in which one available ticket is searched.';
COMMENT ON COLUMN dbsemaphore.ticket.acquire_privilege IS 'Always null. UPDATE on this column alone is the right to acquire tickets.';
COMMENT ON TABLE dbsemaphore.function_version IS 'Which version of its functions this schema has.';
COMMENT ON COLUMN dbsemaphore.function_version.only_row IS 'Always true.';
COMMENT ON COLUMN dbsemaphore.function_version.version IS 'A process with an older version leaves the functions as they are.';
COMMENT ON COLUMN dbsemaphore.function_version.checksum IS 'Of the text of the functions.';
