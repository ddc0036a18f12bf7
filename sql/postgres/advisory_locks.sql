-- The advisory locks of the queues, by kind:
--   q, queue head: the head of the queue of a semaphore holds it, and the other waiters wait for it;
--   o, no overtaking: the head holds it from its first search that failed until it has its tickets. `_try_acquire`
--      refuses meanwhile;
--   w, waits: each waiter holds a shared one, whose number says how many tickets it waits for;
--   c, cancellation: each waiter holds a shared one, under whose number its wait can be cancelled.
-- All are session-level locks. `_wait_in_queue` takes and releases q, w and c, and `_acquire_as_head` o. After an error,
-- `_release_queue_locks` releases them. No session ever waits for w or c.
--
-- Holders publish their tickets by another kind of advisory lock, which a transaction has until it ends: see `_holder_key`.

-- The key of a lock. The upper half is "dbs" in ASCII and the kind, the lower half is the number: the id of the semaphore
-- (q, o), how many tickets (w), or the number of the cancellation (c).
CREATE OR REPLACE FUNCTION dbsemaphore._advisory_key(kind text, number bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE
RETURN x'6462730000000000'::bigint | (ascii(kind)::bigint << 32) | (number & x'ffffffff'::bigint);

-- All locks of these kinds in this database, held and waited for.
CREATE OR REPLACE FUNCTION dbsemaphore.advisory_locks()
RETURNS TABLE (kind text, number bigint, pid integer, mode text, granted boolean, waiting_since timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT chr((l.classid::bigint & 255)::integer), l.objid::bigint, l.pid, l.mode, l.granted, l.waitstart
    FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid::bigint >> 8 = x'646273'::bigint
      -- The letters of the kinds: c, o, q, w.
      AND l.classid::bigint & 255 IN (99, 111, 113, 119)
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

-- Whether the head of the queue waits for a ticket, or for the lock o: PostgreSQL refuses a lock that conflicts with one
-- for which another session waits. In one expression, so that no cancellation comes between the lock and the unlock.
CREATE OR REPLACE FUNCTION dbsemaphore._has_blocked_waiter(semaphore_id bigint) RETURNS boolean
LANGUAGE sql
RETURN CASE WHEN pg_try_advisory_lock_shared(dbsemaphore._advisory_key('o', semaphore_id))
            THEN NOT pg_advisory_unlock_shared(dbsemaphore._advisory_key('o', semaphore_id)) ELSE true END;

-- Releases each lock of these kinds that this session holds, after an error in the queue: the one that forbids overtaking (o)
-- before the queue head lock (q), because only the head may have it. A cancellation that arrives when PostgreSQL grants a
-- lock leaves the lock granted, though the statement that asked for it failed. A cancellation that arrives in the inner block
-- does not end this function, because a stopped client could not release the locks later. Returns whether there was one: a
-- caller that waits again has to raise it. After one that arrives before that block, the client calls this function.
CREATE OR REPLACE FUNCTION dbsemaphore._release_queue_locks() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was_cancelled boolean := false;
BEGIN
    LOOP
        BEGIN
            PERFORM CASE l.mode WHEN 'ShareLock' THEN pg_advisory_unlock_shared(dbsemaphore._advisory_key(l.kind, l.number))
                    ELSE pg_advisory_unlock(dbsemaphore._advisory_key(l.kind, l.number)) END
            FROM (SELECT * FROM dbsemaphore.advisory_locks() AS l
                  WHERE l.granted AND l.pid = pg_backend_pid() ORDER BY l.kind) AS l;
            RETURN was_cancelled;
        EXCEPTION WHEN query_canceled THEN
            was_cancelled := true;
        END;
    END LOOP;
END
$$;
