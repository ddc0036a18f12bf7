-- A ticket is a row; holding it is holding its row lock. Nothing here is ever updated to say who holds what: the rows
-- are the count, the locks are the truth, and PostgreSQL gives both back when a transaction ends, however it ends.

CREATE TABLE dbsemaphore.semaphore (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- "C": names are equal when their bytes are, whatever collation the database has or gets by an upgrade.
    name text COLLATE "C" NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 255),
    -- Written by every `make`: under REPEATABLE READ this makes a resize that didn't see the one before it fail with a
    -- serialization error instead of counting rows it can't see.
    resized_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE dbsemaphore.ticket (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    semaphore_id bigint NOT NULL REFERENCES dbsemaphore.semaphore (id),
    -- Numbers a semaphore's tickets from 0, nearly without gaps, so that a random one is taken by one index look-up.
    slot integer NOT NULL CHECK (slot >= 0),
    -- Never written. UPDATE on this column alone is the right to lock a ticket, without the right to change one.
    lockable boolean CHECK (lockable IS NULL),
    UNIQUE (semaphore_id, slot)
);

-- What follows becomes the documentation of the Rust module `schema`.
COMMENT ON TABLE dbsemaphore.semaphore IS 'Counting semaphores. Create and resize them with this crate only.';
COMMENT ON COLUMN dbsemaphore.semaphore.id IS 'What `ticket.semaphore_id` refers to.';
COMMENT ON COLUMN dbsemaphore.semaphore.name IS 'The name, 1 to 255 characters.';
COMMENT ON COLUMN dbsemaphore.semaphore.resized_at IS 'When it was last created, or asked to be resized.';
COMMENT ON TABLE dbsemaphore.ticket IS 'One row a ticket. Whoever holds the lock of the row holds the ticket.';
COMMENT ON COLUMN dbsemaphore.ticket.id IS 'What `Ticket::ids` returns. Never used again after the ticket was retired.';
COMMENT ON COLUMN dbsemaphore.ticket.semaphore_id IS 'The semaphore. How many tickets refer to it is its size.';
COMMENT ON COLUMN dbsemaphore.ticket.slot IS 'Numbers the tickets of a semaphore from 0, for finding a free one fast.';
COMMENT ON COLUMN dbsemaphore.ticket.lockable IS 'Always null. UPDATE on this column alone is the right to acquire tickets.';

-- Locks up to `wanted` free tickets and returns their ids, fewer if fewer are free. Tickets in `already` don't count.
-- `slots` is one more than the semaphore's highest slot.
--
-- SKIP LOCKED steps over held tickets one by one, so where it starts decides what it costs. In a small semaphore, all
-- slots are looked at, from a random one and round. In a large one, that would walk through long runs of held
-- neighbours; so handfuls of random slots come first, each four times the last.
--
-- A sweep alone isn't enough to say "none free": while it looks at one ticket, one that it has passed may come back,
-- and the one that it would have come to may go. So it says that only if, from before a sweep until after it, each
-- ticket had the same holder (`xmax`): then all were held when the sweep began. In a large and busy semaphore that
-- would take for ever; there, one sweep has to do.
--
-- NO KEY UPDATE is the weakest lock that excludes itself: a foreign key of the application's that points at a ticket
-- neither blocks on it nor takes it out of service.
--
-- Only called from functions that fix the planner's settings; see `acquire`.
CREATE FUNCTION dbsemaphore.lock_free(semaphore bigint, slots integer, wanted integer, already bigint[])
RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    start integer := floor(random() * slots);
    handful integer := 16;
    rounds integer := least(10000 / slots, 100);
    taken bigint[] := '{}';
    was_held text;
    now_held text;
BEGIN
    WHILE cardinality(taken) < wanted AND handful <= slots / 8 AND wanted <= handful / 8 LOOP
        taken := taken || ARRAY(
            SELECT t.id
            FROM (SELECT floor(random() * slots)::integer AS slot FROM generate_series(1, handful)) AS r,
                LATERAL (
                    SELECT t.id FROM dbsemaphore.ticket t
                    WHERE t.semaphore_id = semaphore AND t.slot = r.slot AND t.id <> ALL (already || taken)
                    FOR NO KEY UPDATE SKIP LOCKED) AS t
            LIMIT wanted - cardinality(taken));
        IF wanted > 1 THEN
            -- A slot that came up twice gave its ticket twice: SKIP LOCKED doesn't skip locks of one's own.
            taken := ARRAY(SELECT DISTINCT t FROM unnest(taken) AS t);
        END IF;
        handful := handful * 4;
    END LOOP;

    WHILE cardinality(taken) < wanted LOOP
        taken := taken || ARRAY(
            SELECT t.id FROM dbsemaphore.ticket t
            WHERE t.semaphore_id = semaphore AND t.slot >= start AND t.id <> ALL (already || taken)
            ORDER BY t.slot
            LIMIT wanted - cardinality(taken)
            FOR NO KEY UPDATE SKIP LOCKED);
        IF cardinality(taken) < wanted THEN
            taken := taken || ARRAY(
                SELECT t.id FROM dbsemaphore.ticket t
                WHERE t.semaphore_id = semaphore AND t.slot < start AND t.id <> ALL (already || taken)
                ORDER BY t.slot
                LIMIT wanted - cardinality(taken)
                FOR NO KEY UPDATE SKIP LOCKED);
        END IF;
        EXIT WHEN rounds <= 0;
        rounds := rounds - 1;
        now_held := (SELECT string_agg(t.xmax::text, ',')
                     FROM (SELECT o.xmax FROM dbsemaphore.ticket o
                           WHERE o.semaphore_id = semaphore ORDER BY o.slot) AS t);
        EXIT WHEN now_held = was_held;
        was_held := now_held;
    END LOOP;
    RETURN taken;
END
$$;

-- Makes sure that this transaction holds at least `wanted` tickets, all or nothing, without waiting.
--
-- `semaphore` is null when there is no such semaphore; `tickets` are all that the transaction now holds of it, null
-- when too few are free; `size` is, after a refusal of several, how many there are at all (counted up to `wanted`).
--
-- What a transaction holds is remembered in the setting `dbsemaphore.held`, as ' semaphore=ticket,ticket' for each
-- semaphore: a setting made with SET LOCAL follows transactions and savepoints exactly as row locks do.
--
-- The planner's settings are fixed because a plan outlives the table it was made for: one made when there were three
-- tickets would scan the whole table when there are a hundred thousand. They leave it only the index on semaphore and
-- slot: each look at tickets either is ordered by slot, which another index would need a sort for, or gives one slot.
CREATE FUNCTION dbsemaphore.acquire(
    semaphore_name text, wanted integer, OUT semaphore bigint, OUT tickets bigint[], OUT size integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    held text := current_setting('dbsemaphore.held', true);
    already bigint[] := '{}';
    missing integer := wanted;
    slots integer;
BEGIN
    SELECT s.id, (SELECT t.slot + 1 FROM dbsemaphore.ticket t WHERE t.semaphore_id = s.id ORDER BY t.slot DESC LIMIT 1)
    INTO semaphore, slots
    FROM dbsemaphore.semaphore s WHERE s.name = semaphore_name;
    IF semaphore IS NULL THEN
        RETURN;
    END IF;

    IF held <> '' THEN
        already := coalesce(
            string_to_array(substring(held FROM ' ' || semaphore || '=([0-9,]+)'), ',')::bigint[], already);
        missing := wanted - cardinality(already);
        IF missing <= 0 THEN
            tickets := already;
            RETURN;
        END IF;
    END IF;

    IF slots IS NULL THEN
        size := 0;
        RETURN;
    ELSIF missing = 1 THEN
        tickets := already || dbsemaphore.lock_free(semaphore, slots, 1, already);
    ELSE
        -- Too few are given back by rolling back to where none of them was taken.
        BEGIN
            tickets := already || dbsemaphore.lock_free(semaphore, slots, missing, already);
            IF cardinality(tickets) < wanted THEN
                RAISE EXCEPTION USING ERRCODE = 'DBS00';
            END IF;
        EXCEPTION WHEN SQLSTATE 'DBS00' THEN
            tickets := already;
        END;
    END IF;

    IF cardinality(tickets) < wanted THEN
        tickets := NULL;
        IF wanted > 1 THEN
            SELECT count(*) INTO size
            FROM (SELECT FROM dbsemaphore.ticket t WHERE t.semaphore_id = semaphore ORDER BY t.slot LIMIT wanted) AS t;
        END IF;
        RETURN;
    END IF;

    IF cardinality(already) > 0 THEN
        held := regexp_replace(held, ' ' || semaphore || '=[0-9,]+', '');
    END IF;
    PERFORM set_config(
        'dbsemaphore.held', concat(held, ' ', semaphore, '=', array_to_string(tickets, ',')), true);
END
$$;

-- Deletes `surplus` tickets: free ones first, then others as they come back. While it waits, what it has deleted can't
-- be acquired, and if it fails, all of it is back. Waits at most the caller's `lock_timeout` in all.
--
-- It sleeps on the row lock of one held ticket, in slices, because another one may come back sooner; slices grow until
-- they are longer than `deadlock_timeout`, so that PostgreSQL gets to see a deadlock.
CREATE FUNCTION dbsemaphore.retire(semaphore bigint, surplus integer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    patience interval := current_setting('lock_timeout')::interval;
    since timestamptz := clock_timestamp();
    longest interval := current_setting('deadlock_timeout')::interval + interval '500 ms';
    slice interval := interval '20 ms';
    retired integer;
BEGIN
    LOOP
        DELETE FROM dbsemaphore.ticket t WHERE t.id = ANY (ARRAY(
            SELECT f.id FROM dbsemaphore.ticket f WHERE f.semaphore_id = semaphore
            ORDER BY f.slot DESC LIMIT surplus FOR UPDATE SKIP LOCKED));
        GET DIAGNOSTICS retired = ROW_COUNT;
        surplus := surplus - retired;
        EXIT WHEN surplus <= 0;

        IF patience > interval '0' THEN
            IF clock_timestamp() >= since + patience THEN
                RAISE EXCEPTION 'canceling statement due to lock timeout'
                    USING ERRCODE = 'lock_not_available',
                          DETAIL = format('%s tickets more would have to come back.', surplus);
            END IF;
            slice := least(slice, since + patience - clock_timestamp());
        END IF;
        BEGIN
            PERFORM set_config('lock_timeout', greatest(1, (extract(epoch FROM slice) * 1000)::integer)::text, true);
            PERFORM FROM dbsemaphore.ticket t WHERE t.semaphore_id = semaphore
                ORDER BY t.slot DESC LIMIT 1 FOR UPDATE;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
        PERFORM set_config('lock_timeout', (extract(epoch FROM patience) * 1000)::bigint::text, true);
        slice := least(slice * 2, longest);
    END LOOP;
END
$$;
