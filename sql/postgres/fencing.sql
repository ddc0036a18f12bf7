-- Fencing tokens: in the high bits an epoch, below it the clock in microseconds. A token is made while the row locks are
-- held, so that it is higher than that of any earlier holder, unless the clock was set back on the same timeline. A sequence
-- would not do: after a crash it repeats numbers, because a transaction that is rolled back flushes nothing.
--
-- The epoch increases with each promotion of a standby, and with each recorded move of a semaphore to another cluster. A token
-- has its lowest 11 bits, so after 2,048 of these, tokens begin again.

-- The number of the current timeline. 0 if the server refuses its WAL functions, as Amazon Aurora does.
CREATE OR REPLACE FUNCTION dbsemaphore._current_timeline() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
EXCEPTION WHEN OTHERS THEN
    RETURN 0;
END
$$;

-- The identifier of this cluster. 0 if the role may not see it, or the server refuses to tell it.
CREATE OR REPLACE FUNCTION dbsemaphore._current_system_identifier() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- In one expression, PostgreSQL would check the right to call the function in any case.
    IF has_function_privilege('pg_control_system()', 'EXECUTE') THEN
        RETURN (SELECT c.system_identifier FROM pg_control_system() AS c);
    END IF;
    RETURN 0;
EXCEPTION WHEN OTHERS THEN
    RETURN 0;
END
$$;

-- The next token of a semaphore with these columns. While the timeline is the recorded one, this function does not compute
-- its number, which would cost half as much again as all of a token. With timeline 0, the server refuses to tell it.
CREATE OR REPLACE FUNCTION dbsemaphore._next_fencing_token(timeline integer, next_timeline text, epoch integer)
RETURNS bigint
LANGUAGE sql
RETURN (CASE WHEN timeline = 0 THEN epoch
             WHEN pg_walfile_name(pg_current_wal_lsn()) < next_timeline COLLATE "C" THEN epoch
             ELSE epoch + greatest(0, dbsemaphore._current_timeline() - timeline) END % 2048)::bigint << 52
    | (date_part('epoch', clock_timestamp()) * 1000000)::bigint;

-- The semaphores that were last seen in another cluster or on another timeline. None on a standby.
CREATE OR REPLACE FUNCTION dbsemaphore._moved_semaphores() RETURNS SETOF bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    current_timeline integer;
    current_identifier bigint := dbsemaphore._current_system_identifier();
BEGIN
    IF NOT pg_is_in_recovery() THEN
        current_timeline := dbsemaphore._current_timeline();
        RETURN QUERY
            SELECT s.id FROM dbsemaphore.semaphore s
            WHERE s.timeline <> current_timeline OR (s.system_identifier <> current_identifier AND current_identifier <> 0);
    END IF;
END
$$;

-- Records that these semaphores are in this cluster, on this timeline. Each `make` and `run_migrations` does so. In a new
-- cluster the epoch increases by 16: promotions that nobody recorded before the move may have increased tokens by up to 15.
-- Skips semaphores that are being resized.
CREATE OR REPLACE FUNCTION dbsemaphore._record_move(semaphore_ids bigint[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    current_timeline integer := dbsemaphore._current_timeline();
    current_identifier bigint := dbsemaphore._current_system_identifier();
BEGIN
    UPDATE dbsemaphore.semaphore s
    SET epoch = s.epoch + CASE
            WHEN s.timeline <= current_timeline AND (current_identifier = 0 OR s.system_identifier IN (current_identifier, 0))
            THEN current_timeline - s.timeline
            -- A higher timeline has increased tokens before this.
            ELSE 16 + greatest(0, current_timeline - s.timeline) END,
        timeline = current_timeline,
        system_identifier = CASE WHEN current_identifier = 0 THEN s.system_identifier ELSE current_identifier END
    FROM (SELECT o.id FROM dbsemaphore.semaphore o WHERE o.id = ANY (semaphore_ids) FOR NO KEY UPDATE SKIP LOCKED) AS moved
    WHERE s.id = moved.id
      AND (s.timeline <> current_timeline OR (s.system_identifier <> current_identifier AND current_identifier <> 0));
END
$$;
