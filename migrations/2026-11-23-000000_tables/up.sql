-- A ticket is a row; holding it is holding its row lock. Nothing here is ever updated to say who holds what: the rows
-- are the count, the locks are the truth, and PostgreSQL gives both back when a transaction ends, however it ends.

-- PostgreSQL counts up its timeline when a standby is promoted, but a new cluster, filled by pg_upgrade or by a dump,
-- begins with timeline 1 again. So each semaphore has a note of the cluster in which it was last, which moves along.
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
        THEN (SELECT c.system_identifier FROM pg_control_system() AS c) ELSE 0 END;
END
$$;

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
        1.0 / greatest(1, slots / CASE WHEN slots > 10000 THEN 256 ELSE 64 END)) STORED,
    -- Where it was last, and the high bits of its fencing tokens while that lasts. The name of the first WAL file of the next
    -- timeline begins with `next_timeline`.
    system_identifier bigint NOT NULL DEFAULT dbsemaphore._current_system(),
    timeline integer NOT NULL DEFAULT dbsemaphore._current_timeline(),
    next_timeline text COLLATE "C" NOT NULL GENERATED ALWAYS AS (upper(lpad(to_hex(timeline + 1), 8, '0'))) STORED,
    epoch integer NOT NULL DEFAULT dbsemaphore._current_timeline() CHECK (epoch > 0)
);

-- The semaphores that were last in another cluster than the present one, or on another timeline. None on a standby.
CREATE FUNCTION dbsemaphore._moved_semaphores() RETURNS SETOF bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    current_timeline integer;
    current_system bigint := dbsemaphore._current_system();
BEGIN
    IF NOT pg_is_in_recovery() THEN
        current_timeline := dbsemaphore._current_timeline();
        RETURN QUERY
            SELECT s.id FROM dbsemaphore.semaphore s
            WHERE s.timeline <> current_timeline OR s.system_identifier <> current_system AND current_system <> 0;
    END IF;
END
$$;

-- Notes that these semaphores are here now. In a new cluster the epoch increases by 16: promotions that nobody had noted
-- before the move may have raised tokens by up to 15. Passes over semaphores that somebody is about to resize.
CREATE FUNCTION dbsemaphore._record_move(semaphores bigint[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    current_timeline integer := dbsemaphore._current_timeline();
    current_system bigint := dbsemaphore._current_system();
BEGIN
    UPDATE dbsemaphore.semaphore s
    SET epoch = s.epoch + CASE
            WHEN s.system_identifier IN (current_system, 0) AND s.timeline <= current_timeline
            THEN current_timeline - s.timeline ELSE 16 END,
        timeline = current_timeline,
        system_identifier = current_system
    FROM (SELECT o.id FROM dbsemaphore.semaphore o WHERE o.id = ANY (semaphores) FOR NO KEY UPDATE SKIP LOCKED) AS moved
    WHERE s.id = moved.id
      AND (s.timeline <> current_timeline OR s.system_identifier <> current_system AND current_system <> 0);
END
$$;

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

-- What follows becomes the documentation of the Rust module `schema`.
COMMENT ON TABLE dbsemaphore.semaphore IS 'Counting semaphores. Create and resize them with this crate only.';
COMMENT ON COLUMN dbsemaphore.semaphore.id IS 'What `ticket.semaphore_id` refers to.';
COMMENT ON COLUMN dbsemaphore.semaphore.name IS 'The name, 1 to 255 characters.';
COMMENT ON COLUMN dbsemaphore.semaphore.resized_at IS 'When it was last created, or asked to be resized.';
COMMENT ON COLUMN dbsemaphore.semaphore.slots IS 'One more than the highest slot of its tickets. Not their number.';
COMMENT ON COLUMN dbsemaphore.semaphore.dense IS 'Whether many of the slots have a ticket.';
COMMENT ON COLUMN dbsemaphore.semaphore.reach IS 'How far around a random place to look for one.';
COMMENT ON COLUMN dbsemaphore.semaphore.system_identifier IS 'The cluster it was last in, as `pg_control_system` gives it.';
COMMENT ON COLUMN dbsemaphore.semaphore.timeline IS 'The timeline it was last on.';
COMMENT ON COLUMN dbsemaphore.semaphore.next_timeline IS 'The one after it, as names of WAL files begin.';
COMMENT ON COLUMN dbsemaphore.semaphore.epoch IS 'The high bits of its fencing tokens on that timeline. Never lower it.';
COMMENT ON TABLE dbsemaphore.ticket IS 'One row a ticket. Whoever holds the lock of the row holds the ticket.';
COMMENT ON COLUMN dbsemaphore.ticket.id IS 'What `Ticket::ids` returns. Never used again after the ticket was retired.';
COMMENT ON COLUMN dbsemaphore.ticket.semaphore_id IS 'The semaphore. How many tickets refer to it is its size.';
COMMENT ON COLUMN dbsemaphore.ticket.slot IS 'Numbers the tickets of a semaphore from 0, for finding a free one fast.';
COMMENT ON COLUMN dbsemaphore.ticket.place IS 'The same, scattered.';
COMMENT ON COLUMN dbsemaphore.ticket.lockable IS 'Always null. UPDATE on this column alone is the right to acquire tickets.';
