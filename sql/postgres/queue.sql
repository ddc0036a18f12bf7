-- The queue of a semaphore. Waiters wait for its queue head lock (q), an advisory lock, in PostgreSQL's order. Only the head,
-- which holds that lock, searches for tickets, or holds some while it waits for more. The lock is a session-level one, because
-- a transaction-level lock can't be released before the transaction ends. So each way out of the queue has to release it,
-- also when that is cancelled itself: see `_release_queue_locks`.
--
-- `_acquire` and `_remove_tickets` fix the planner's settings and search_path for all that they call.

-- Sleeps on the row lock of a ticket for at most `max_wait`. Returns its id as soon as PostgreSQL grants the lock, and null
-- otherwise. If there is no ticket, sleeps only.
--
-- Up to 64 slots, `rotation` 0 is the ticket whose locker has the oldest number, 1 the second, and so on, wrapped around. With
-- more slots, it is a random ticket.
CREATE OR REPLACE FUNCTION dbsemaphore._wait_for_ticket(
    semaphore_id bigint, slot_bound integer, excluded_ids bigint[], rotation integer, max_wait interval)
RETURNS bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    first_slot integer;
    ticket_id bigint;
BEGIN
    -- At least 1: 0 would mean for ever.
    PERFORM set_config('lock_timeout', greatest(1, ceil(extract(epoch FROM max_wait) * 1000))::bigint::text, true);
    IF slot_bound <= 64 THEN
        SELECT t.id INTO ticket_id FROM dbsemaphore.ticket t
        WHERE t.id = (
            SELECT o.id FROM dbsemaphore.ticket o
            WHERE o.semaphore_id = semaphore_id AND o.slot < slot_bound AND o.id <> ALL (excluded_ids)
            ORDER BY age(o.xmax) DESC OFFSET rotation % greatest(1, slot_bound - cardinality(excluded_ids)) LIMIT 1)
        FOR NO KEY UPDATE;
    ELSE
        first_slot := floor(random() * slot_bound);
        SELECT t.id INTO ticket_id FROM dbsemaphore.ticket t
        WHERE t.semaphore_id = semaphore_id AND t.slot >= first_slot AND t.slot < slot_bound AND t.id <> ALL (excluded_ids)
        ORDER BY t.slot LIMIT 1 FOR NO KEY UPDATE;
    END IF;
    IF ticket_id IS NULL THEN
        PERFORM pg_sleep(least(0.4, extract(epoch FROM max_wait)));
    END IF;
    RETURN ticket_id;
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;

-- Locks the available tickets that the head still needs. Up to 64 slots, a single ticket is searched from the one whose locker
-- has the oldest number, because that locker has most probably ended.
CREATE OR REPLACE FUNCTION dbsemaphore._lock_for_head(
    semaphore_id bigint, slot_bound integer, needed integer, excluded_ids bigint[], highest_slot_first boolean)
RETURNS bigint[]
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    locked_ids bigint[];
    ticket_id bigint;
BEGIN
    IF needed = 1 AND slot_bound <= 64 AND NOT highest_slot_first THEN
        SELECT t.id INTO ticket_id FROM dbsemaphore.ticket t
        WHERE t.semaphore_id = semaphore_id AND t.slot < slot_bound AND t.id <> ALL (excluded_ids)
        ORDER BY age(t.xmax) DESC
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED;
        RETURN CASE WHEN ticket_id IS NULL THEN '{}'
            WHEN pg_advisory_xact_lock_shared(dbsemaphore._holder_key(ticket_id)) IS NOT NULL THEN ARRAY[ticket_id] END;
    END IF;
    IF highest_slot_first OR slot_bound <= 64 THEN
        locked_ids := ARRAY(
            SELECT t.id FROM dbsemaphore.ticket t
            WHERE t.semaphore_id = semaphore_id AND t.slot < slot_bound AND t.id <> ALL (excluded_ids)
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
    -- Null until the first search has failed.
    became_head_at timestamptz;
    statement_timeout_at timestamptz;
    deadlock_timeout interval;
    short_sleep interval;
    long_sleep_at timestamptz;
    long_sleep_pause interval := interval '4 s';
    is_long boolean;
    no_overtaking_key bigint;
    total integer;
    rotation integer := 0;
    slot_bound integer;
    ticket_id bigint;
    locked_ids bigint[] := '{}';
BEGIN
    LOOP
        -- Each time, because a resize that was earlier in the queue may commit later.
        slot_bound := (SELECT s.slot_bound FROM dbsemaphore.semaphore s WHERE s.id = semaphore_id);
        IF slot_bound > 0 THEN
            locked_ids := locked_ids || dbsemaphore._lock_for_head(
                semaphore_id, slot_bound, needed - cardinality(locked_ids), held_ids || locked_ids, highest_slot_first);
        END IF;
        EXIT WHEN cardinality(locked_ids) >= needed;

        IF became_head_at IS NULL THEN
            became_head_at := clock_timestamp();
            long_sleep_at := became_head_at;
            -- PostgreSQL forgets its own statement_timeout if that comes at the instant of a lock_timeout.
            statement_timeout_at := statement_timestamp() + interval '50 ms'
                + nullif(current_setting('statement_timeout')::interval, interval '0');
            deadlock_timeout := current_setting('deadlock_timeout')::interval;
            -- With log_lock_waits, PostgreSQL logs each sleep that lasts as long as deadlock_timeout. Where that is so short
            -- that the head would have to wake many times a second, the sleeps are logged.
            short_sleep := CASE WHEN deadlock_timeout < interval '0.1 s' THEN interval '0.4 s'
                           ELSE least(interval '0.4 s', deadlock_timeout * 0.8) END;
            total := needed + cardinality(held_ids);
            no_overtaking_key := dbsemaphore._advisory_key('o', semaphore_id);
            PERFORM pg_advisory_lock(no_overtaking_key);
        END IF;

        -- At size 0 the head keeps waiting.
        IF slot_bound IS NULL OR clock_timestamp() >= wait_until
            OR (slot_bound > 0 AND total > 1 AND total > (
                SELECT count(*) FROM (
                    SELECT FROM dbsemaphore.ticket t
                    WHERE t.semaphore_id = semaphore_id AND t.slot < slot_bound
                    ORDER BY t.slot LIMIT total) AS t))
        THEN
            RAISE EXCEPTION USING ERRCODE = 'DBS00';
        END IF;
        IF clock_timestamp() >= statement_timeout_at THEN
            RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled';
        END IF;
        IF slot_bound = 0 AND current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE EXCEPTION 'could not serialize access: the semaphore has no tickets in the snapshot of this transaction'
                USING ERRCODE = 'serialization_failure';
        END IF;

        -- With several tickets, any of them may be released. So the head changes the ticket after each sleep. Sleeps grow from
        -- 2 ms to 0.4 s.
        --
        -- With one ticket the head sleeps on it all the time. PostgreSQL looks for a deadlock when a sleep has lasted for
        -- deadlock_timeout, and finds it if all others in the cycle sleep at that time. So the first sleep is a long one: the
        -- last to join the cycle finds the others in short sleeps, between which they are awake for some milliseconds. If it
        -- misses one of them, a later long sleep finds the cycle.
        is_long := slot_bound = 1 AND clock_timestamp() >= long_sleep_at;
        ticket_id := dbsemaphore._wait_for_ticket(semaphore_id, slot_bound, held_ids || locked_ids, rotation, least(
            wait_until - clock_timestamp(),
            CASE WHEN is_long THEN deadlock_timeout + interval '0.4 s'
                 WHEN slot_bound = 1 THEN short_sleep
                 ELSE least(short_sleep, greatest(interval '2 ms', (clock_timestamp() - became_head_at) / 20)) END));
        IF is_long THEN
            long_sleep_at := clock_timestamp() + long_sleep_pause;
            long_sleep_pause := least(long_sleep_pause * 2, interval '60 s');
        END IF;
        rotation := rotation + 1;
        IF ticket_id IS NOT NULL THEN
            locked_ids := locked_ids || ticket_id;
            PERFORM pg_advisory_xact_lock_shared(dbsemaphore._holder_key(ticket_id));
            EXIT WHEN cardinality(locked_ids) >= needed;
        END IF;
    END LOOP;
    IF became_head_at IS NOT NULL THEN
        PERFORM pg_advisory_unlock(no_overtaking_key);
    END IF;
    RETURN locked_ids;
END
$$;

-- Waits in the queue until it has locked `needed` tickets beside those in `held_ids`, and returns their ids. Returns null, and
-- nothing is locked, at `deadline`, or if the semaphore has too few tickets or was destroyed. Raises lock_not_available at
-- `lock_timeout_at`, which is that of the caller's lock_timeout. Either time may be null, for no limit. A guard, whose
-- transaction holds nothing else, joins the queue again if it is the victim of a deadlock. `cancellation`: see `_cancel_wait`.
CREATE OR REPLACE FUNCTION dbsemaphore._wait_in_queue(
    semaphore_id bigint, needed integer, held_ids bigint[], deadline timestamptz, lock_timeout_at timestamptz,
    highest_slot_first boolean, is_guard boolean, cancellation bigint)
RETURNS bigint[]
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    queue_head_key bigint := dbsemaphore._advisory_key('q', semaphore_id);
    waits_key bigint := dbsemaphore._advisory_key('w', needed);
    cancellation_key bigint := dbsemaphore._advisory_key('c', cancellation);
    saved_lock_timeout text := current_setting('lock_timeout');
    wait_until timestamptz := least(deadline, lock_timeout_at);
    may_join_again boolean := true;
    locked_ids bigint[];
BEGIN
    LOOP
        BEGIN
            IF wait_until IS NOT NULL THEN
                PERFORM set_config('lock_timeout', least(2147483647, greatest(1,
                    ceil(extract(epoch FROM wait_until - clock_timestamp()) * 1000)))::bigint::text, true);
            END IF;
            PERFORM pg_advisory_lock_shared(waits_key), pg_advisory_lock_shared(cancellation_key);
            PERFORM pg_advisory_lock(queue_head_key);
            locked_ids := dbsemaphore._acquire_as_head(semaphore_id, needed, held_ids, wait_until, highest_slot_first);
            PERFORM pg_advisory_unlock(queue_head_key), pg_advisory_unlock_shared(waits_key),
                pg_advisory_unlock_shared(cancellation_key);
            IF current_setting('lock_timeout') <> saved_lock_timeout THEN
                PERFORM set_config('lock_timeout', saved_lock_timeout, true);
            END IF;
            RETURN locked_ids;
        EXCEPTION
            WHEN SQLSTATE 'DBS00' OR lock_not_available THEN
                PERFORM dbsemaphore._release_queue_locks();
                IF clock_timestamp() >= lock_timeout_at AND (deadline IS NULL OR lock_timeout_at < deadline) THEN
                    RAISE EXCEPTION 'canceling statement due to lock timeout'
                        USING ERRCODE = 'lock_not_available', HINT = 'lock_timeout bounds the whole wait for a ticket';
                END IF;
                RETURN NULL;
            WHEN deadlock_detected THEN
                IF dbsemaphore._release_queue_locks() THEN
                    RAISE EXCEPTION USING ERRCODE = 'query_canceled', MESSAGE = 'canceling statement due to user request';
                END IF;
                -- PostgreSQL chooses its victim among all in the cycle. A guard holds nothing that could have caused it but
                -- its place in the queue. Another transaction without tickets may have caused it by another lock: then there
                -- is a second deadlock.
                IF NOT may_join_again OR current_setting('dbsemaphore.held_tickets', true) <> '' THEN
                    RAISE;
                END IF;
                may_join_again := is_guard;
            WHEN query_canceled THEN
                PERFORM dbsemaphore._release_queue_locks();
                RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM,
                    HINT = 'the wait for a ticket was cancelled, by statement_timeout, the client or another session';
            WHEN OTHERS THEN
                PERFORM dbsemaphore._release_queue_locks();
                RAISE;
        END;
    END LOOP;
END
$$;

-- Waits in the queue for at most `timeout_ms`, or without limit if null, after `_try_acquire` refused. Returns what that does.
CREATE OR REPLACE FUNCTION dbsemaphore._acquire(
    semaphore_name text, requested integer, host_timeout_s integer, label text, timeout_ms bigint, cancellation bigint)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_variable
DECLARE
    deadline timestamptz := clock_timestamp() + timeout_ms * interval '1 ms';
    lock_timeout_at timestamptz := clock_timestamp() + nullif(current_setting('lock_timeout')::interval, interval '0');
    is_guard boolean := host_timeout_s IS NOT NULL;
    semaphore_id bigint := (SELECT s.id FROM dbsemaphore.semaphore s WHERE s.name = semaphore_name);
    held_ids bigint[] := '{}';
    locked_ids bigint[];
BEGIN
    IF semaphore_id IS NULL THEN
        RETURN 'unknown';
    END IF;
    IF label IS NOT NULL THEN
        PERFORM dbsemaphore._set_label(label);
    END IF;
    -- The transaction of a guard holds no tickets yet.
    IF NOT is_guard THEN
        held_ids := (SELECT h.ticket_ids FROM dbsemaphore._get_own_tickets(semaphore_id) AS h);
    END IF;
    locked_ids := dbsemaphore._wait_in_queue(
        semaphore_id, requested - cardinality(held_ids), held_ids, deadline, lock_timeout_at, false, is_guard, cancellation);
    IF locked_ids IS NOT NULL THEN
        held_ids := held_ids || locked_ids;
        RETURN dbsemaphore._acquired(dbsemaphore._record_own_tickets(semaphore_id, held_ids), held_ids);
    END IF;
    -- Meanwhile the semaphore may have been resized or destroyed.
    semaphore_id := (SELECT s.id FROM dbsemaphore.semaphore s WHERE s.name = semaphore_name);
    RETURN CASE WHEN semaphore_id IS NULL THEN 'unknown' ELSE dbsemaphore._refusal(semaphore_id, requested) END;
END
$$;

-- Cancels the waits with this number, and returns whether there was one. A waiter holds the advisory lock (c) of its number
-- exactly while it waits. If the wait ends between the look at the lock and the signal, the cancellation meets what the
-- session does next.
CREATE OR REPLACE FUNCTION dbsemaphore._cancel_wait(cancellation bigint) RETURNS boolean
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(bool_or(pg_cancel_backend(l.pid)), false)
    FROM dbsemaphore.advisory_locks() AS l
    WHERE l.granted AND l.kind = 'c' AND l.number = cancellation & x'ffffffff'::bigint
$$;
