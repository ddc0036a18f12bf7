-- A ticket is a row; holding it is holding its row lock. Nothing here is ever updated to say who holds what: the rows
-- are the count, the locks are the truth, and PostgreSQL gives both back when a transaction ends, however it ends.

CREATE TABLE dbsemaphore.semaphore (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- "C": names are equal when their bytes are, whatever collation the database has or gets by an upgrade.
    name text COLLATE "C" NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 255),
    -- Written by every `make`: under REPEATABLE READ this makes a resize that didn't see the one before it fail with a
    -- serialization error instead of counting rows it can't see.
    resized_at timestamptz NOT NULL DEFAULT now(),
    -- Where to look for tickets, and how. In slots from there on may be the remains of tickets that a shrink has
    -- deleted and VACUUM not yet removed; where few of the slots have a ticket, a random slot is a bad place to look for one.
    slots integer NOT NULL DEFAULT 0 CHECK (slots >= 0),
    dense boolean NOT NULL DEFAULT true,
    -- How far down from its place `acquire_one` looks: past all tickets in a small semaphore, past some 64 to 128 where it
    -- is cheap to read who holds them all, past some 256 in a large one.
    reach double precision NOT NULL GENERATED ALWAYS AS (
        1.0 / greatest(1, slots / CASE WHEN slots > 10000 THEN 256 ELSE 64 END)) STORED
);

-- The bits of a slot's number in reverse, behind the point. However many of the first slots there are, these numbers are
-- spread evenly between 0 and 1, neighbours are far from each other, and that of slot 0 is 0.
CREATE FUNCTION dbsemaphore.scatter(slot integer) RETURNS double precision
LANGUAGE sql IMMUTABLE
RETURN reverse(slot::bit(31)::text)::bit(31)::integer / 2147483648.0;

CREATE TABLE dbsemaphore.ticket (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    semaphore_id bigint NOT NULL REFERENCES dbsemaphore.semaphore (id),
    -- Numbers a semaphore's tickets from 0, nearly without gaps, so that a random one is taken by one index look-up.
    slot integer NOT NULL CHECK (slot >= 0),
    -- Where `acquire_one` looks for a free ticket: down from a random place there is always one near, even if a whole run
    -- of slots is held.
    place double precision NOT NULL GENERATED ALWAYS AS (dbsemaphore.scatter(slot)) STORED,
    -- Never written. UPDATE on this column alone is the right to lock a ticket, without the right to change one.
    lockable boolean CHECK (lockable IS NULL),
    UNIQUE (semaphore_id, slot)
);

-- A plan outlives the table that it was made for. One made when there were three tickets would scan the whole table when
-- there are a hundred thousand, unless the planner believes that to look at a row without an index costs a fortune. This
-- makes it believe so, where the indexes below are meant. It is only called when a row is written.
CREATE FUNCTION dbsemaphore.by_index(value bigint) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE COST 1000000 AS 'BEGIN RETURN value; END';
CREATE FUNCTION dbsemaphore.by_index(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE COST 1000000 AS 'BEGIN RETURN value; END';
CREATE UNIQUE INDEX semaphore_by_index ON dbsemaphore.semaphore (dbsemaphore.by_index(name));
CREATE UNIQUE INDEX ticket_by_index ON dbsemaphore.ticket (dbsemaphore.by_index(semaphore_id), place);

-- PostgreSQL counts up its timeline when a standby is promoted, but a new cluster, filled by pg_upgrade or by a dump,
-- begins with timeline 1 again. This row moves along with the data and says which cluster it was in last, so that the
-- first `run_migrations` after the move can tell.
CREATE FUNCTION dbsemaphore._current_timeline() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
END
$$;

-- 0 where the role may not see it.
CREATE FUNCTION dbsemaphore._current_system() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
        THEN (SELECT c.system_identifier FROM pg_control_system() AS c) ELSE 16 END;
END
$$;

CREATE TABLE dbsemaphore.cluster (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    system_identifier bigint NOT NULL DEFAULT dbsemaphore._current_system(),
    timeline integer NOT NULL DEFAULT dbsemaphore._current_timeline(),
    -- The first WAL file's name of the next timeline begins with it.
    next_timeline text COLLATE "C" NOT NULL GENERATED ALWAYS AS (upper(lpad(to_hex(timeline + 1), 8, '0'))) STORED,
    -- The high bits of fencing tokens while `timeline` lasts.
    epoch integer NOT NULL DEFAULT dbsemaphore._current_timeline() CHECK (epoch > 0)
);
INSERT INTO dbsemaphore.cluster DEFAULT VALUES;

-- Whether `cluster` names another cluster, or an earlier timeline, than the present one. Never on a standby.
CREATE FUNCTION dbsemaphore._has_moved() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN NOT pg_is_in_recovery() AND EXISTS (
        SELECT FROM dbsemaphore.cluster c
        WHERE c.timeline <> dbsemaphore._current_timeline()
           OR c.system_identifier <> coalesce(nullif(dbsemaphore._current_system(), 0), c.system_identifier));
END
$$;

-- Writes down where the tables are now. In a new cluster the epoch rises by 16: promotions that nobody has written down
-- before the move may have raised tokens by up to 15.
CREATE FUNCTION dbsemaphore._record_move() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE dbsemaphore.cluster c
    SET epoch = c.epoch + CASE WHEN c.system_identifier = present.system AND c.timeline <= present.timeline
                               THEN present.timeline - c.timeline ELSE 16 END,
        timeline = present.timeline,
        system_identifier = present.system
    FROM (SELECT dbsemaphore._current_timeline() AS timeline,
              coalesce(nullif(dbsemaphore._current_system(), 0), o.system_identifier) AS system
          FROM dbsemaphore.cluster o) AS present
    WHERE c.timeline <> present.timeline OR c.system_identifier <> present.system;
END
$$;

-- What follows becomes the documentation of the Rust module `schema`.
COMMENT ON TABLE dbsemaphore.semaphore IS 'Counting semaphores. Create and resize them with this crate only.';
COMMENT ON COLUMN dbsemaphore.semaphore.id IS 'What `ticket.semaphore_id` refers to.';
COMMENT ON COLUMN dbsemaphore.semaphore.name IS 'The name, 1 to 255 characters.';
COMMENT ON COLUMN dbsemaphore.semaphore.resized_at IS 'When it was last created, or asked to be resized.';
COMMENT ON COLUMN dbsemaphore.semaphore.slots IS 'One more than the highest slot of its tickets. Not their number.';
COMMENT ON COLUMN dbsemaphore.semaphore.dense IS 'Whether many of the slots have a ticket.';
COMMENT ON COLUMN dbsemaphore.semaphore.reach IS 'How far around a random place to look for one.';
COMMENT ON TABLE dbsemaphore.cluster IS 'The PostgreSQL cluster that the tables are in, for fencing tokens. One row.';
COMMENT ON COLUMN dbsemaphore.cluster.only_row IS 'Always true.';
COMMENT ON COLUMN dbsemaphore.cluster.system_identifier IS 'As `pg_control_system` gives it, or 0.';
COMMENT ON COLUMN dbsemaphore.cluster.timeline IS 'The timeline at the last `run_migrations` or `make`.';
COMMENT ON COLUMN dbsemaphore.cluster.next_timeline IS 'The one after it, as names of WAL files begin.';
COMMENT ON COLUMN dbsemaphore.cluster.epoch IS 'The high bits of fencing tokens. Never lower it.';
COMMENT ON TABLE dbsemaphore.ticket IS 'One row a ticket. Whoever holds the lock of the row holds the ticket.';
COMMENT ON COLUMN dbsemaphore.ticket.id IS 'What `Ticket::ids` returns. Never used again after the ticket was retired.';
COMMENT ON COLUMN dbsemaphore.ticket.semaphore_id IS 'The semaphore. How many tickets refer to it is its size.';
COMMENT ON COLUMN dbsemaphore.ticket.slot IS 'Numbers the tickets of a semaphore from 0, for finding a free one fast.';
COMMENT ON COLUMN dbsemaphore.ticket.place IS 'The same, scattered.';
COMMENT ON COLUMN dbsemaphore.ticket.lockable IS 'Always null. UPDATE on this column alone is the right to acquire tickets.';
