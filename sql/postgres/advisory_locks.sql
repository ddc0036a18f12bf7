-- The advisory locks of this library, by kind:
--   q, queue head: its holder is the head of the queue of a semaphore, the others of the queue wait for it;
--   o, no overtaking: the head holds it while it has too few tickets, and nobody else acquires one;
--   w, waits: a waiter shows by a shared one how many tickets it waits for;
--   c, cancellation: a waiter shows by a shared one under which number its wait can be cancelled.
-- Nobody ever waits for the last two. They are locks because a lock ends with its session.

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
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

-- Whether the head of the queue waits for a ticket. In one expression, so that no cancellation comes between the lock and the
-- unlock.
CREATE OR REPLACE FUNCTION dbsemaphore._has_blocked_waiter(semaphore_id bigint) RETURNS boolean
LANGUAGE sql
RETURN CASE WHEN pg_try_advisory_lock_shared(dbsemaphore._advisory_key('o', semaphore_id))
            THEN NOT pg_advisory_unlock_shared(dbsemaphore._advisory_key('o', semaphore_id)) ELSE true END;

-- Releases each lock of these kinds that this session holds, after an error in the queue. A cancellation that arrives when
-- PostgreSQL grants a lock leaves the lock granted, though the statement that asked for it failed. A cancellation that
-- arrives here is ignored: the statement ends at once anyway, and a stopped client could not release the locks later.
CREATE OR REPLACE FUNCTION dbsemaphore._release_queue_locks() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM CASE l.mode WHEN 'ShareLock' THEN pg_advisory_unlock_shared(dbsemaphore._advisory_key(l.kind, l.number))
                    ELSE pg_advisory_unlock(dbsemaphore._advisory_key(l.kind, l.number)) END
            FROM dbsemaphore.advisory_locks() AS l
            WHERE l.granted AND l.pid = pg_backend_pid();
            RETURN;
        EXCEPTION WHEN query_canceled THEN
        END;
    END LOOP;
END
$$;
