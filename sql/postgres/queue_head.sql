-- What the head of the queue does: it searches, and sleeps until a ticket may be available. See `queue.sql`.

-- Sleeps on the row lock of a ticket for at most `max_wait`. Returns its id as soon as PostgreSQL grants the lock, and null
-- otherwise. If there is no ticket, sleeps only. `rotation` 0 is the ticket whose locker has the oldest number, 1 the second,
-- and so on, wrapped around after `other_count`. Tickets after the first 64 are not slept on: in each round, the head searches
-- all of them anyway. A shrink sleeps on these, too.
CREATE OR REPLACE FUNCTION dbsemaphore._wait_for_ticket(
    semaphore_id bigint, slot_bound integer, other_count integer, excluded_ids bigint[], rotation integer, max_wait interval)
RETURNS bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    ticket_id bigint;
    unused text;
BEGIN
    -- At least 1: 0 would mean for ever.
    unused := set_config('lock_timeout', greatest(1, ceil(extract(epoch FROM max_wait) * 1000))::bigint::text, true);
    SELECT t.id INTO ticket_id FROM dbsemaphore.ticket t
    WHERE t.id = (
        SELECT f.id FROM (
            SELECT o.id, o.xmax FROM dbsemaphore.ticket o
            WHERE o.semaphore_id = semaphore_id AND o.slot < slot_bound AND o.id NOT IN (SELECT unnest(excluded_ids))
            ORDER BY o.slot LIMIT 64) AS f
        ORDER BY age(f.xmax) DESC OFFSET rotation % greatest(1, other_count) LIMIT 1)
    FOR NO KEY UPDATE;
    IF ticket_id IS NULL THEN
        PERFORM pg_sleep(least(0.4, extract(epoch FROM max_wait)));
    END IF;
    RETURN ticket_id;
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;

-- Locks the available tickets that the head still needs. `_acquire_as_head` itself does so for a single ticket of at most 64
-- slots.
CREATE OR REPLACE FUNCTION dbsemaphore._lock_for_head(
    semaphore_id bigint, slot_bound integer, needed integer, excluded_ids bigint[], highest_slot_first boolean)
RETURNS bigint[]
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    locked_ids bigint[];
BEGIN
    -- With few slots, the order does not matter.
    IF highest_slot_first OR slot_bound <= 64 THEN
        locked_ids := ARRAY(
            SELECT t.id FROM dbsemaphore.ticket t
            WHERE t.semaphore_id = semaphore_id AND t.slot < slot_bound AND t.id NOT IN (SELECT unnest(excluded_ids))
            ORDER BY t.slot DESC
            LIMIT needed
            FOR NO KEY UPDATE SKIP LOCKED);
    ELSE
        locked_ids := dbsemaphore._lock_available_tickets(semaphore_id, slot_bound, needed, excluded_ids, 1);
    END IF;
    IF locked_ids <> '{}' THEN
        PERFORM dbsemaphore._publish_held_tickets(locked_ids);
    END IF;
    RETURN locked_ids;
END
$$;

-- What the head of the queue does: returns as soon as it has locked `needed` tickets beside those in `held_ids`. Raises DBS00 at
-- `wait_until`, or if the semaphore has too few tickets or was destroyed.
CREATE OR REPLACE FUNCTION dbsemaphore._acquire_as_head(
    semaphore_id bigint, needed integer, held_ids bigint[], wait_until timestamptz, highest_slot_first boolean)
RETURNS bigint[]
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    -- Since when the head holds the lock that forbids overtaking (o). Null until the first search has failed.
    blocked_since timestamptz;
    statement_timeout_at timestamptz;
    deadlock_timeout interval;
    short_sleep interval;
    long_sleep_at timestamptz;
    long_sleep_pause interval;
    other_count integer;
    is_long boolean;
    requested integer;
    rotation integer;
    is_single boolean := needed = 1 AND NOT highest_slot_first;
    slot_bound integer;
    ticket_id bigint;
    locked_ids bigint[] := '{}';
    unused text;
BEGIN
    LOOP
        -- One query is enough for a single ticket of at most 64 slots. It is searched from the ticket whose locker has the
        -- oldest number, because that locker has most probably ended. `slot_bound` is read each time, because a resize that was
        -- earlier in the queue may commit later.
        SELECT s.slot_bound, CASE WHEN is_single AND s.slot_bound <= 64 THEN (
            SELECT t.id FROM dbsemaphore.ticket t
            WHERE t.semaphore_id = semaphore_id AND t.slot < s.slot_bound AND t.id <> ALL (held_ids)
            ORDER BY age(t.xmax) DESC
            LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED) END
        INTO slot_bound, ticket_id
        FROM dbsemaphore.semaphore s WHERE s.id = semaphore_id;
        IF ticket_id IS NOT NULL THEN
            locked_ids := CASE WHEN pg_advisory_xact_lock_shared(dbsemaphore._holder_key(ticket_id)) IS NOT NULL
                THEN ARRAY[ticket_id] END;
            EXIT;
        END IF;
        IF slot_bound > 64 OR (slot_bound > 0 AND NOT is_single) THEN
            locked_ids := locked_ids || dbsemaphore._lock_for_head(
                semaphore_id, slot_bound, needed - cardinality(locked_ids), held_ids || locked_ids, highest_slot_first);
            EXIT WHEN cardinality(locked_ids) >= needed;
        END IF;

        IF blocked_since IS NULL THEN
            blocked_since := clock_timestamp();
            long_sleep_at := blocked_since;
            long_sleep_pause := interval '4 s';
            rotation := 0;
            -- PostgreSQL forgets its own statement_timeout if that comes at the instant of a lock_timeout. Otherwise it raises
            -- the error itself: hence 50 ms later.
            statement_timeout_at := statement_timestamp() + interval '50 ms'
                + nullif(current_setting('statement_timeout')::interval, interval '0');
            deadlock_timeout := current_setting('deadlock_timeout')::interval;
            -- With log_lock_waits, PostgreSQL logs each sleep that lasts as long as deadlock_timeout. Where that is so short
            -- that the head would have to wake many times a second, the sleeps are logged.
            short_sleep := CASE WHEN deadlock_timeout < interval '0.1 s' THEN interval '0.4 s'
                           ELSE least(interval '0.4 s', deadlock_timeout * 0.8) END;
            requested := needed + cardinality(held_ids);
            -- No search follows at once: a ticket that was released meanwhile is granted to the sleep below, or found after it.
            unused := pg_advisory_lock(dbsemaphore._advisory_key('o', semaphore_id));
        END IF;

        -- At size 0 the head keeps waiting.
        IF slot_bound IS NULL OR clock_timestamp() >= wait_until
            OR (requested > 1 AND (
                SELECT count(*) BETWEEN 1 AND requested - 1 FROM (
                    SELECT FROM dbsemaphore.ticket t
                    WHERE t.semaphore_id = semaphore_id AND t.slot < slot_bound
                    ORDER BY t.slot LIMIT requested) AS t))
        THEN
            RAISE EXCEPTION USING ERRCODE = 'DBS00';
        END IF;
        IF clock_timestamp() >= statement_timeout_at THEN
            RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled';
        END IF;
        IF slot_bound = 0 AND dbsemaphore._has_old_snapshot() THEN
            RAISE EXCEPTION 'could not serialize access: the semaphore has no tickets in the snapshot of this transaction'
                USING ERRCODE = 'serialization_failure';
        END IF;

        -- With several tickets, any of them may be released. So the head changes the ticket after each sleep. Its sleeps grow
        -- from 2 ms to 0.4 s. None is meant to last until PostgreSQL looks for a deadlock: it would find one as soon as the
        -- holder of this ticket waited for this transaction, though the holder of another one may release it.
        --
        -- With one ticket the head sleeps on it all the time. PostgreSQL looks for a deadlock when a sleep has lasted for
        -- deadlock_timeout, and finds it if all other sessions in the cycle sleep at that time. So the first sleep is a long
        -- one: the last head to join the cycle finds the others in their short sleeps, between which each is awake for some
        -- milliseconds. If it finds one of them awake, a later long sleep finds the cycle.
        IF rotation = 0 THEN
            -- The first sleep is on the first ticket, however many there are. So they need not be counted.
            other_count := slot_bound;
        ELSE
            -- A shrink may have left fewer tickets than slots.
            other_count := (
                SELECT count(*) FROM (
                    SELECT FROM dbsemaphore.ticket t
                    WHERE t.semaphore_id = semaphore_id AND t.slot < slot_bound
                      AND t.id NOT IN (SELECT unnest(held_ids || locked_ids))
                    ORDER BY t.slot LIMIT 64) AS t);
        END IF;
        is_long := other_count = 1 AND clock_timestamp() >= long_sleep_at;
        ticket_id := dbsemaphore._wait_for_ticket(
            semaphore_id, slot_bound, other_count, held_ids || locked_ids, rotation, least(wait_until - clock_timestamp(),
            CASE WHEN is_long THEN deadlock_timeout + interval '0.4 s'
                 WHEN other_count = 1 THEN short_sleep
                 ELSE least(short_sleep, greatest(interval '2 ms', (clock_timestamp() - blocked_since) / 20)) END));
        IF is_long THEN
            long_sleep_at := clock_timestamp() + long_sleep_pause;
            long_sleep_pause := least(long_sleep_pause * 2, interval '60 s');
        END IF;
        rotation := rotation + 1;
        IF ticket_id IS NOT NULL THEN
            locked_ids := locked_ids || ticket_id;
            unused := pg_advisory_xact_lock_shared(dbsemaphore._holder_key(ticket_id));
            EXIT WHEN cardinality(locked_ids) >= needed;
        END IF;
    END LOOP;
    IF blocked_since IS NOT NULL THEN
        unused := pg_advisory_unlock(dbsemaphore._advisory_key('o', semaphore_id));
    END IF;
    RETURN locked_ids;
END
$$;
