-- Who holds what, and who waits, as seen from outside: from the advisory locks by which holders and waiters publish
-- themselves, and from PostgreSQL's own lists of locks and sessions. Nothing here takes a lock that anybody could wait for.
-- What a role may not see of others' sessions is null.

-- Whether the transaction of that number is still going on. A number that can't have come from one is none: where an
-- application's foreign keys point at tickets, `xmax` may be another kind of number.
CREATE FUNCTION dbsemaphore.is_open(number xid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    -- One more than the last that had ended when this statement began. With its upper half, ours is the one nearest to it.
    next bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    distance bigint := (number::text::bigint - next) & x'ffffffff'::bigint;
BEGIN
    IF distance < x'80000000'::bigint THEN
        BEGIN
            RETURN pg_xact_status((next + distance)::text::xid8) = 'in progress';
        EXCEPTION WHEN invalid_parameter_value THEN
            -- It hasn't been given out yet.
            RETURN false;
        END;
    END IF;
    distance := x'100000000'::bigint - distance;
    RETURN distance <= next - 3 AND pg_xact_status((next - distance)::text::xid8) = 'in progress';
END
$$;

-- Locks are the primary server's: on a standby, nothing is known of them.
CREATE FUNCTION dbsemaphore._check_primary() RETURNS boolean
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

-- What `_publish_held_tickets` has published in this database: the low 26 bits of a ticket's id, and since when it is held,
-- null if that can't be. `prepared` is the number of a prepared transaction, which has no process.
CREATE FUNCTION dbsemaphore._published_tickets()
RETURNS TABLE (ticket bigint, pid integer, prepared xid, held_since timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ((l.classid::bigint & x'ffffff'::bigint) << 2) | (l.objid::bigint >> 30),
        l.pid,
        x.transactionid,
        -- Half of what 30 bits can tell, 194 days, is for times that lie ahead: then the clock was set back.
        CASE WHEN age.ticks < 536870912 THEN clock_timestamp() - age.ticks / 32.0 * interval '1 s' END
    FROM pg_locks l
        LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
            AND x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock' AND x.granted
        CROSS JOIN LATERAL (SELECT
            ((extract(epoch FROM clock_timestamp()) * 32)::bigint - l.objid::bigint) & 1073741823 AS ticks) AS age
    WHERE l.granted AND l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.objsubid = 1
      AND l.classid::bigint >> 24 = x'db'::bigint
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

-- Whether a foreign key points at tickets, beside our own. Then `xmax` may be the number of a group of lockers (a
-- multixact), or that of a transaction which holds a weaker lock and no ticket.
CREATE FUNCTION dbsemaphore._has_foreign_keys() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM pg_trigger t
        WHERE t.tgrelid = 'dbsemaphore.ticket'::regclass AND t.tgconstrrelid <> 'dbsemaphore.semaphore'::regclass)
$$;

-- The tickets that are held, by which session or prepared transaction, and since when. First those that are published.
-- Without foreign keys, also those whose row was locked by a transaction that is still going on. If that one has published
-- another ticket, it is a holder of very many; else the ticket was locked by other means than this library's, and nobody
-- is named.
CREATE FUNCTION dbsemaphore.held(only_semaphore bigint)
RETURNS TABLE (semaphore bigint, ticket bigint, pid integer, prepared xid, held_since timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS MATERIALIZED (
        -- Of two that publish the same ticket, the one that has locked its row; else the later one, for the earlier one is
        -- just about to end.
        SELECT DISTINCT ON (t.id) t.semaphore_id, t.id, p.pid, p.prepared, p.held_since, t.xmax
        FROM dbsemaphore._published_tickets() AS p
            JOIN dbsemaphore.ticket t ON t.id & 67108863 = p.ticket
            LEFT JOIN pg_locks x ON x.pid = p.pid AND x.transactionid = t.xmax AND x.mode = 'ExclusiveLock' AND x.granted
        ORDER BY t.id, x.pid IS NULL, p.held_since DESC
    ), locked AS MATERIALIZED (
        SELECT t.semaphore_id, t.id, t.xmax
        FROM dbsemaphore.ticket t
        WHERE (only_semaphore IS NULL OR t.semaphore_id = only_semaphore)
          AND t.xmax <> '0' AND NOT dbsemaphore._has_foreign_keys()
          AND NOT EXISTS (SELECT FROM known k WHERE k.id = t.id)
          AND dbsemaphore.is_open(t.xmax)
    )
    SELECT k.semaphore_id, k.id, k.pid, k.prepared, k.held_since
    FROM known k
    WHERE only_semaphore IS NULL OR k.semaphore_id = only_semaphore
    UNION ALL
    SELECT l.semaphore_id, l.id, o.pid, coalesce(o.prepared, x.transaction), o.held_since
    FROM locked l
        LEFT JOIN (
            SELECT DISTINCT ON (k.xmax::text) k.xmax, k.pid, k.prepared, k.held_since FROM known k) AS o ON o.xmax = l.xmax
        LEFT JOIN pg_prepared_xacts x ON x.transaction = l.xmax
$$;

-- Null for a time that lies ahead: then the clock was set back.
CREATE FUNCTION dbsemaphore._milliseconds_since(start timestamptz) RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN start <= clock_timestamp() THEN (extract(epoch FROM clock_timestamp() - start) * 1000)::bigint END
$$;

-- Those who stand in a line; place 1 is its head.
CREATE FUNCTION dbsemaphore.in_line(only_semaphore bigint)
RETURNS TABLE (semaphore bigint, place bigint, pid integer, tickets integer, since timestamptz)
LANGUAGE sql STABLE AS $$
    WITH lock AS MATERIALIZED (SELECT * FROM dbsemaphore.locks() AS l WHERE l.kind IN ('t', 'w'))
    SELECT s.id, row_number() OVER (PARTITION BY s.id ORDER BY l.granted DESC, l.waiting_since NULLS LAST), l.pid,
        (SELECT max(w.number)::integer FROM lock w WHERE w.pid = l.pid AND w.kind = 'w' AND w.granted),
        l.waiting_since
    FROM dbsemaphore.semaphore s
        JOIN lock l ON l.number = s.id & x'ffffffff'::bigint AND l.kind = 't' AND l.mode = 'ExclusiveLock'
    WHERE only_semaphore IS NULL OR s.id = only_semaphore
$$;

-- To compile these queries (`jit`) takes longer than to run them, and the planner believes that they are costly.

-- The held tickets of one semaphore. `held_for` and `transaction_for` are in milliseconds.
CREATE FUNCTION dbsemaphore.holders(semaphore_name text)
RETURNS TABLE (
    ticket bigint, pid integer, role text, application text, label text, client_address text,
    held_for bigint, transaction_for bigint, prepared_transaction text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    -- A statement of its own: where row level security hides a whole table, PostgreSQL doesn't even begin the next one.
    SELECT dbsemaphore._check_row_security(false);
    SELECT h.ticket, h.pid, coalesce(pg_get_userbyid(a.usesysid), x.owner)::text, n.application, n.label, host(a.client_addr),
        (extract(epoch FROM clock_timestamp() - h.held_since) * 1000)::bigint,
        dbsemaphore._milliseconds_since(coalesce(a.xact_start, x.prepared)),
        x.gid
    FROM dbsemaphore.semaphore s
        CROSS JOIN LATERAL dbsemaphore.held(s.id) AS h
        -- Asked for by each process, so that it is read after the locks: behind a pooler, a session changes its name.
        LEFT JOIN LATERAL pg_stat_get_activity(h.pid) AS a ON h.pid IS NOT NULL
        LEFT JOIN pg_prepared_xacts x ON x.transaction = h.prepared
        LEFT JOIN LATERAL dbsemaphore.named(a.application_name) AS n ON true
    WHERE s.name = semaphore_name AND dbsemaphore._check_primary()
    ORDER BY h.ticket
$$;

-- Those who stand in line for one semaphore. `waited` is in milliseconds.
CREATE FUNCTION dbsemaphore.waiters(semaphore_name text)
RETURNS TABLE (
    place bigint, tickets integer, pid integer, role text, application text, label text, client_address text,
    waited bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT dbsemaphore._check_row_security(false);
    -- The head waits for something else by now: there, only the start of its call tells.
    SELECT l.place, l.tickets, l.pid, a.usename::text, n.application, n.label, host(a.client_addr),
        dbsemaphore._milliseconds_since(coalesce(a.query_start, l.since))
    FROM dbsemaphore.semaphore s
        CROSS JOIN LATERAL dbsemaphore.in_line(s.id) AS l
        LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        LEFT JOIN LATERAL dbsemaphore.named(a.application_name) AS n ON true
    WHERE s.name = semaphore_name AND dbsemaphore._check_primary()
    ORDER BY l.place
$$;

-- All semaphores: how many tickets there are, how many are held, and how many sessions stand in line.
CREATE FUNCTION dbsemaphore.usage()
RETURNS TABLE (name text, tickets bigint, in_use bigint, waiting bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT dbsemaphore._check_row_security(false);
    SELECT s.name, coalesce(t.tickets, 0), coalesce(h.held, 0), coalesce(l.waiting, 0)
    FROM dbsemaphore.semaphore s
        LEFT JOIN (SELECT t.semaphore_id, count(*) AS tickets FROM dbsemaphore.ticket t GROUP BY 1) AS t
            ON t.semaphore_id = s.id
        LEFT JOIN (SELECT h.semaphore, count(*) AS held FROM dbsemaphore.held(NULL) AS h GROUP BY 1) AS h
            ON h.semaphore = s.id
        LEFT JOIN (SELECT l.semaphore, count(*) AS waiting FROM dbsemaphore.in_line(NULL) AS l GROUP BY 1) AS l
            ON l.semaphore = s.id
    WHERE dbsemaphore._check_primary()
    ORDER BY s.name
$$;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dbsemaphore TO PUBLIC;
