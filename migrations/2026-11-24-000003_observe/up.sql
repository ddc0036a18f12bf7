-- Who holds what, and who waits, as seen from outside: from the marks that row locks leave (`xmax`) and from PostgreSQL's
-- own lists of locks and sessions. Nothing here takes a lock that anybody could wait for. What a role may not see of
-- others' sessions is null.

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

-- The tickets that are held, and by which session. A transaction's number leads to its session through the lock that it
-- has on itself; that of a sub-transaction through the lock that `sign` took. Null if neither is there, because the
-- ticket was locked by other means than this library's.
CREATE FUNCTION dbsemaphore.held(only_semaphore bigint)
RETURNS TABLE (semaphore bigint, ticket bigint, pid integer)
LANGUAGE sql STABLE AS $$
    WITH owner AS MATERIALIZED (
        SELECT l.transactionid::text::bigint AS xid, l.pid
        FROM pg_locks l
        WHERE l.granted AND l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock'
        UNION ALL
        SELECT l.number, l.pid FROM dbsemaphore.locks() AS l WHERE l.granted AND l.kind = 'i'
    )
    SELECT t.semaphore_id, t.id, o.pid
    FROM dbsemaphore.ticket t
        LEFT JOIN (SELECT xid, min(pid) AS pid FROM owner GROUP BY xid) AS o ON o.xid = t.xmax::text::bigint
    WHERE (only_semaphore IS NULL OR t.semaphore_id = only_semaphore) AND t.xmax <> '0'
      AND (o.pid IS NOT NULL OR dbsemaphore.is_open(t.xmax))
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

-- The held tickets of one semaphore. `held_for` and `transaction_for` are in milliseconds.
CREATE FUNCTION dbsemaphore.holders(semaphore_name text)
RETURNS TABLE (
    ticket bigint, pid integer, role text, application text, label text, client_address text,
    held_for bigint, transaction_for bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH taken AS MATERIALIZED (
        -- A session that has acquired more than once doesn't tell which was when.
        SELECT l.pid, CASE count(*) WHEN 1 THEN min(l.number) END AS at
        FROM dbsemaphore.locks() AS l
        WHERE l.granted AND l.kind = 'h'
        GROUP BY l.pid
    )
    SELECT h.ticket, h.pid, a.usename::text, n.application, n.label, host(a.client_addr),
        10 * (((extract(epoch FROM clock_timestamp()) * 100)::bigint - t.at) & x'ffffffff'::bigint),
        (extract(epoch FROM clock_timestamp() - a.xact_start) * 1000)::bigint
    FROM dbsemaphore.semaphore s
        CROSS JOIN LATERAL dbsemaphore.held(s.id) AS h
        LEFT JOIN taken t ON t.pid = h.pid
        LEFT JOIN pg_stat_activity a ON a.pid = h.pid
        LEFT JOIN LATERAL dbsemaphore.named(a.application_name) AS n ON true
    WHERE s.name = semaphore_name
    ORDER BY h.ticket
$$;

-- Those who stand in line for one semaphore. `waited` is in milliseconds.
CREATE FUNCTION dbsemaphore.waiters(semaphore_name text)
RETURNS TABLE (
    place bigint, tickets integer, pid integer, role text, application text, label text, client_address text,
    waited bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    -- The head waits for something else by now: there, only the start of its call tells.
    SELECT l.place, l.tickets, l.pid, a.usename::text, n.application, n.label, host(a.client_addr),
        (extract(epoch FROM clock_timestamp() - coalesce(a.query_start, l.since)) * 1000)::bigint
    FROM dbsemaphore.semaphore s
        CROSS JOIN LATERAL dbsemaphore.in_line(s.id) AS l
        LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        LEFT JOIN LATERAL dbsemaphore.named(a.application_name) AS n ON true
    WHERE s.name = semaphore_name
    ORDER BY l.place
$$;

-- All semaphores: how many tickets there are, how many are held, and how many sessions stand in line.
CREATE FUNCTION dbsemaphore.usage()
RETURNS TABLE (name text, tickets bigint, in_use bigint, waiting bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.name, coalesce(t.tickets, 0), coalesce(h.held, 0), coalesce(l.waiting, 0)
    FROM dbsemaphore.semaphore s
        LEFT JOIN (SELECT t.semaphore_id, count(*) AS tickets FROM dbsemaphore.ticket t GROUP BY 1) AS t
            ON t.semaphore_id = s.id
        LEFT JOIN (SELECT h.semaphore, count(*) AS held FROM dbsemaphore.held(NULL) AS h GROUP BY 1) AS h
            ON h.semaphore = s.id
        LEFT JOIN (SELECT l.semaphore, count(*) AS waiting FROM dbsemaphore.in_line(NULL) AS l GROUP BY 1) AS l
            ON l.semaphore = s.id
    ORDER BY s.name
$$;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dbsemaphore TO PUBLIC;
