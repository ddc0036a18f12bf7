-- The queue of a semaphore. Waiters wait for its queue head lock (q), an advisory lock, in PostgreSQL's order. Among them, only
-- the head, which holds that lock, searches for tickets, or holds some while it waits for more. The lock is a session-level
-- one, because a transaction-level lock can't be released before the transaction ends. So each way out of the queue has to
-- release it: `_wait_in_queue`, `_release_queue_locks` after an error, or the client if that is cancelled, too. What the head
-- does is in `queue_head.sql`. A wait begins by `_acquire`, or by `_remove_tickets` for a shrink.
--
-- `_acquire` and `_remove_tickets` fix the planner's settings and search_path for all that they call.

-- Waits in the queue until it has locked `needed` tickets beside those in `held_ids`, and returns their ids. Returns null, and
-- nothing is locked, at `deadline`, or if the semaphore has too few tickets or was destroyed. Raises lock_not_available at
-- `lock_timeout_at`, which is that of the caller's lock_timeout. Either time may be null, for no limit. A guard, whose
-- transaction holds nothing else, joins the end of the queue again if it is the victim of a deadlock, and another transaction
-- without tickets does so once. `cancellation`: see `_cancel_wait`.
CREATE OR REPLACE FUNCTION dbsemaphore._wait_in_queue(
    semaphore_id bigint, needed integer, held_ids bigint[], deadline timestamptz, lock_timeout_at timestamptz,
    highest_slot_first boolean, is_guard boolean, cancellation bigint)
RETURNS bigint[]
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    saved_lock_timeout text := current_setting('lock_timeout');
    wait_until timestamptz := least(deadline, lock_timeout_at);
    may_join_again boolean := true;
    locked_ids bigint[];
    unused text;
BEGIN
    LOOP
        BEGIN
            IF wait_until IS NOT NULL THEN
                unused := set_config('lock_timeout', least(2147483647, greatest(1,
                    ceil(extract(epoch FROM wait_until - clock_timestamp()) * 1000)))::bigint::text, true);
            END IF;
            -- One assignment costs less than several, and far less than PERFORM. The queue head lock comes last. A null
            -- `cancellation` takes no lock.
            unused := concat(pg_advisory_lock_shared(dbsemaphore._advisory_key('w', needed)),
                pg_advisory_lock_shared(dbsemaphore._advisory_key('c', cancellation)),
                pg_advisory_lock(dbsemaphore._advisory_key('q', semaphore_id)));
            locked_ids := dbsemaphore._acquire_as_head(semaphore_id, needed, held_ids, wait_until, highest_slot_first);
            EXIT;
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
                -- Any transaction in the cycle can be its victim. A guard holds nothing that could have caused it but
                -- its position in the queue. Another transaction without tickets may have caused it by another lock: then there
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
    -- Only now, because the block above is a sub-transaction, whose number PostgreSQL releases at its end. If the next head
    -- slept on a ticket of it before that, its sleep would be two waits: for the sub-transaction, and then for this
    -- transaction. PostgreSQL can report a lock_timeout that comes between the two as a cancellation, though nobody has
    -- requested one.
    unused := concat(pg_advisory_unlock(dbsemaphore._advisory_key('q', semaphore_id)),
        pg_advisory_unlock_shared(dbsemaphore._advisory_key('w', needed)),
        pg_advisory_unlock_shared(dbsemaphore._advisory_key('c', cancellation)));
    IF current_setting('lock_timeout') <> saved_lock_timeout THEN
        unused := set_config('lock_timeout', saved_lock_timeout, true);
    END IF;
    RETURN locked_ids;
END
$$;

-- Waits in the queue for at most `timeout_ms`, or without limit if null, after `_try_acquire` refused in the same transaction.
-- That has checked row level security, and has changed settings of a guard, which are in force from the next statement on.
-- Answers as `_try_acquire` does. The client waits again if the answer is `unavailable` before its own limit: the semaphore
-- may have been resized twice, or destroyed and created again, or the clock may have been set.
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
    lock_timeout_at timestamptz;
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
    -- The transaction of a guard holds no tickets yet. `_try_acquire` has switched its lock_timeout off.
    IF NOT is_guard THEN
        lock_timeout_at := clock_timestamp() + nullif(current_setting('lock_timeout')::interval, interval '0');
        held_ids := (SELECT h.ticket_ids FROM dbsemaphore._get_own_tickets(semaphore_id) AS h);
    END IF;
    locked_ids := dbsemaphore._wait_in_queue(
        semaphore_id, requested - cardinality(held_ids), held_ids, deadline, lock_timeout_at, false, is_guard, cancellation);
    IF locked_ids IS NOT NULL THEN
        IF is_guard THEN
            RETURN dbsemaphore._acquired((
                SELECT dbsemaphore._next_fencing_token(s.timeline, s.next_timeline, s.epoch)
                FROM dbsemaphore.semaphore s WHERE s.id = semaphore_id), locked_ids);
        END IF;
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
