-- Who holds tickets, and who waits, as others see it: from the advisory locks by which holders and waiters publish themselves,
-- and from PostgreSQL's own lists of locks and sessions. Nothing here takes a lock that anybody could wait for. What a role
-- may not see of other sessions is null.
--
-- The planner believes that these queries are costly, and compiling them (`jit`) takes longer than running them.

-- Whether the transaction with this number is running. If foreign keys of an application refer to tickets, `xmax` may be
-- another kind of number; one that no transaction can have is not running.
CREATE OR REPLACE FUNCTION dbsemaphore._is_transaction_running(number xid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- One more than the last transaction that had ended when the snapshot was taken, with all 64 bits. `number` has the lower
    -- 32. Of the transactions with these, the right one is nearest to this.
    snapshot_xmax bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    distance bigint := (number::text::bigint - snapshot_xmax) & x'ffffffff'::bigint;
BEGIN
    IF distance < x'80000000'::bigint THEN
        BEGIN
            RETURN pg_xact_status((snapshot_xmax + distance)::text::xid8) = 'in progress';
        EXCEPTION WHEN invalid_parameter_value THEN
            -- No transaction has had it yet.
            RETURN false;
        END;
    END IF;
    distance := x'100000000'::bigint - distance;
    RETURN distance <= snapshot_xmax - 3 AND pg_xact_status((snapshot_xmax - distance)::text::xid8) = 'in progress';
END
$$;

-- Raises an error on a standby, which does not know the locks of its primary.
CREATE OR REPLACE FUNCTION dbsemaphore._check_primary() RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'holders and waiters of tickets are not known on a standby server'
            USING ERRCODE = 'read_only_sql_transaction', HINT = 'ask the primary server';
    END IF;
    RETURN true;
END
$$;

-- What holders have published in this database, as `_holder_key` packs it: the low 26 bits of the ticket's id, and since when
-- it is held, null after 194 days. A prepared transaction has a number, `prepared_xid`, and no process.
CREATE OR REPLACE FUNCTION dbsemaphore._published_tickets()
RETURNS TABLE (ticket_id_bits bigint, pid integer, prepared_xid xid, held_since timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ((l.classid::bigint & x'ffffff'::bigint) << 2) | (l.objid::bigint >> 30),
        l.pid,
        x.transactionid,
        -- Half of what 30 bits can tell, 194 days, is for times in the future: then the clock was set back.
        CASE WHEN elapsed.ticks < 536870912 THEN clock_timestamp() - elapsed.ticks / 32.0 * interval '1 s' END
    FROM pg_locks l
        LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
            AND x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock' AND x.granted
        CROSS JOIN LATERAL (SELECT
            ((extract(epoch FROM clock_timestamp()) * 32)::bigint - l.objid::bigint) & 1073741823 AS ticks) AS elapsed
    WHERE l.granted AND l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.objsubid = 1
      AND l.classid::bigint >> 24 = x'db'::bigint
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

-- The held tickets of one semaphore, or of all if null: by which session or prepared transaction, and since when. Returns the
-- published tickets and, if no foreign key refers to tickets, each other ticket whose locker is running. If that locker
-- has published another ticket, it holds more than 64 tickets. Otherwise its holder is null: the ticket was locked without
-- this library, or a moment ago.
CREATE OR REPLACE FUNCTION dbsemaphore._all_held_tickets(only_semaphore_id bigint)
RETURNS TABLE (semaphore_id bigint, ticket_id bigint, pid integer, prepared_xid xid, held_since timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH published AS MATERIALIZED (
        -- If two transactions publish one ticket, the one that has locked its row, otherwise the later one: the earlier one
        -- is just about to end, and has released the row before its advisory locks.
        SELECT DISTINCT ON (t.id) t.semaphore_id, t.id, p.pid, p.prepared_xid, p.held_since, t.xmax
        FROM dbsemaphore._published_tickets() AS p
            JOIN dbsemaphore.ticket t ON t.id & 67108863 = p.ticket_id_bits
            LEFT JOIN pg_locks x ON x.pid = p.pid AND x.transactionid = t.xmax AND x.mode = 'ExclusiveLock' AND x.granted
        ORDER BY t.id, x.pid IS NULL, p.held_since DESC
    ), unpublished AS MATERIALIZED (
        SELECT t.semaphore_id, t.id, t.xmax
        FROM dbsemaphore.ticket t
        WHERE (only_semaphore_id IS NULL OR t.semaphore_id = only_semaphore_id)
          AND t.xmax <> '0' AND NOT dbsemaphore._has_foreign_keys()
          AND NOT EXISTS (SELECT FROM published p WHERE p.id = t.id)
          AND dbsemaphore._is_transaction_running(t.xmax)
    )
    SELECT p.semaphore_id, p.id, p.pid, p.prepared_xid, p.held_since
    FROM published p
    WHERE only_semaphore_id IS NULL OR p.semaphore_id = only_semaphore_id
    UNION ALL
    SELECT l.semaphore_id, l.id, o.pid, coalesce(o.prepared_xid, x.transaction), o.held_since
    FROM unpublished l
        LEFT JOIN (
            SELECT DISTINCT ON (p.xmax::text) p.xmax, p.pid, p.prepared_xid, p.held_since FROM published p) AS o
            ON o.xmax = l.xmax
        LEFT JOIN pg_prepared_xacts x ON x.transaction = l.xmax
$$;

-- The waiters in the queue of one semaphore, or of all if null. Position 1 is the head.
CREATE OR REPLACE FUNCTION dbsemaphore._queue(only_semaphore_id bigint)
RETURNS TABLE (semaphore_id bigint, queue_position bigint, pid integer, needed integer, waiting_since timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH lock AS MATERIALIZED (SELECT * FROM dbsemaphore.advisory_locks() AS l WHERE l.kind IN ('q', 'w'))
    SELECT s.id, row_number() OVER (PARTITION BY s.id ORDER BY l.granted DESC, l.waiting_since NULLS LAST), l.pid,
        (SELECT max(w.number)::integer FROM lock w WHERE w.pid = l.pid AND w.kind = 'w' AND w.granted),
        l.waiting_since
    FROM dbsemaphore.semaphore s
        JOIN lock l ON l.number = s.id & x'ffffffff'::bigint AND l.kind = 'q' AND l.mode = 'ExclusiveLock'
    WHERE only_semaphore_id IS NULL OR s.id = only_semaphore_id
$$;

-- The held tickets of one semaphore.
CREATE OR REPLACE FUNCTION dbsemaphore.holders(semaphore_name text)
RETURNS TABLE (
    ticket_id bigint, pid integer, usename text, application_name text, label text, client_addr inet,
    held_since timestamptz, transaction_start timestamptz, prepared_transaction text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    -- A statement of its own: if row level security hides a whole table, PostgreSQL does not evaluate a part of the next one.
    -- PostgreSQL otherwise keeps what it has read of sessions until the transaction ends.
    SELECT dbsemaphore._check_row_security(false), pg_stat_clear_snapshot();
    SELECT h.ticket_id, h.pid, coalesce(pg_get_userbyid(a.usesysid), x.owner)::text, n.application_name, n.label, a.client_addr,
        h.held_since, coalesce(a.xact_start, x.prepared), x.gid
    FROM dbsemaphore.semaphore s
        CROSS JOIN LATERAL dbsemaphore._all_held_tickets(s.id) AS h
        -- Read after the locks, by process: behind a pooler, a session changes its name.
        LEFT JOIN LATERAL pg_stat_get_activity(h.pid) AS a ON h.pid IS NOT NULL
        LEFT JOIN pg_prepared_xacts x ON x.transaction = h.prepared_xid
        LEFT JOIN LATERAL dbsemaphore._parse_application_name(a.application_name) AS n ON true
    WHERE s.name = semaphore_name COLLATE "C" AND dbsemaphore._check_primary()
    ORDER BY h.ticket_id
$$;

-- The waiters in the queue of one semaphore. `waiting_since` is the start of the waiter's statement. Where the role may not see
-- that, it is the start of its wait for the queue head lock, and null for the head.
CREATE OR REPLACE FUNCTION dbsemaphore.waiters(semaphore_name text)
RETURNS TABLE (
    queue_position bigint, needed integer, pid integer, usename text, application_name text, label text, client_addr inet,
    waiting_since timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT dbsemaphore._check_row_security(false), pg_stat_clear_snapshot();
    SELECT q.queue_position, q.needed, q.pid, pg_get_userbyid(a.usesysid)::text, n.application_name, n.label, a.client_addr,
        coalesce(a.query_start, q.waiting_since)
    FROM dbsemaphore.semaphore s
        CROSS JOIN LATERAL dbsemaphore._queue(s.id) AS q
        LEFT JOIN LATERAL pg_stat_get_activity(q.pid) AS a ON true
        LEFT JOIN LATERAL dbsemaphore._parse_application_name(a.application_name) AS n ON true
    WHERE s.name = semaphore_name COLLATE "C" AND dbsemaphore._check_primary()
    ORDER BY q.queue_position
$$;

-- All semaphores, or the one with this name: their size, how many tickets are held, and how many sessions wait.
CREATE OR REPLACE FUNCTION dbsemaphore.usage(semaphore_name text DEFAULT NULL)
RETURNS TABLE (name text, size bigint, in_use bigint, waiting bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT dbsemaphore._check_row_security(false);
    WITH chosen AS MATERIALIZED (
        SELECT s.id, s.name FROM dbsemaphore.semaphore s
        WHERE semaphore_name IS NULL OR s.name = semaphore_name COLLATE "C"
    ), only_semaphore AS MATERIALIZED (
        SELECT c.id FROM chosen c WHERE semaphore_name IS NOT NULL
    )
    SELECT c.name, coalesce(t.size, 0), coalesce(h.in_use, 0), coalesce(q.waiting, 0)
    FROM chosen c
        LEFT JOIN (
            SELECT t.semaphore_id, count(*) AS size FROM dbsemaphore.ticket t
            WHERE semaphore_name IS NULL OR t.semaphore_id = (SELECT o.id FROM only_semaphore o)
            GROUP BY 1) AS t
            ON t.semaphore_id = c.id
        LEFT JOIN (
            SELECT h.semaphore_id, count(*) AS in_use
            FROM dbsemaphore._all_held_tickets((SELECT o.id FROM only_semaphore o)) AS h
            GROUP BY 1) AS h
            ON h.semaphore_id = c.id
        LEFT JOIN (
            SELECT q.semaphore_id, count(*) AS waiting
            FROM dbsemaphore._queue((SELECT o.id FROM only_semaphore o)) AS q
            GROUP BY 1) AS q
            ON q.semaphore_id = c.id
    WHERE dbsemaphore._check_primary()
    ORDER BY c.name
$$;

-- The age of a time in milliseconds, by the server's clock, for the client. Null for a time in the future: then the clock was
-- set back.
CREATE OR REPLACE FUNCTION dbsemaphore._age_ms(since timestamptz) RETURNS bigint
LANGUAGE sql STABLE
RETURN CASE WHEN since <= clock_timestamp() THEN (extract(epoch FROM clock_timestamp() - since) * 1000)::bigint END;
