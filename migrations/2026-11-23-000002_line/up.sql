-- The line. PostgreSQL's own lock queue is the line, and the turnstile, a session-level advisory lock, is what it queues
-- for: whoever holds it is at the head, and only the head looks for tickets, or keeps some while it waits for more.
-- A transaction-level lock can't be the turnstile, because it can't be given back before the transaction ends. So it
-- has to be given back on every way out, and when that is itself cancelled, by the client: see `leave`.

-- The advisory locks of this library's in this database, by their `kind` and `number` as of the function `key`.
CREATE FUNCTION dbsemaphore.locks()
RETURNS TABLE (kind text, number bigint, pid integer, mode text, granted boolean, waiting_since timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT chr((l.classid::bigint & 255)::integer), l.objid::bigint, l.pid, l.mode, l.granted, l.waitstart
    FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid::bigint >> 8 = x'646273'::bigint
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

-- Gives back every turnstile and barrier that this session holds, and what others see of its wait. For the way out after
-- an error: a cancel that comes at the moment of the grant leaves the lock granted, though the statement that asked for
-- it failed. One that comes while it leaves is passed over: the statement ends anyway, and a client that is stopped
-- couldn't make up for it.
CREATE FUNCTION dbsemaphore.leave() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM CASE l.mode WHEN 'ShareLock' THEN pg_advisory_unlock_shared(dbsemaphore.key(l.kind, l.number))
                    ELSE pg_advisory_unlock(dbsemaphore.key(l.kind, l.number)) END
            FROM dbsemaphore.locks() AS l
            WHERE l.granted AND l.pid = pg_backend_pid() AND l.kind IN ('t', 'b', 'w', 'c');
            RETURN;
        EXCEPTION WHEN query_canceled THEN
        END;
    END LOOP;
END
$$;

-- Lets the server look each second whether the client of this transaction is still there, so that a dead one leaves the
-- line. A server on Windows can't look, and would refuse. In force from the next statement on.
--
-- With `log_lock_waits`, each look writes a message of the waiter's into the server's log. So there it looks as often as
-- the server's own setting says, or each minute.
CREATE FUNCTION dbsemaphore.attend_client() RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN version() ~* 'mingw|msvc|visual c' THEN ''
                ELSE set_config('client_connection_check_interval', CASE WHEN current_setting('log_lock_waits') = 'off' THEN '1s'
                    ELSE coalesce(nullif(current_setting('client_connection_check_interval'), '0'), '60s') END, true) END;
END
$$;

-- Sleeps on the row lock of a ticket that somebody holds, for at most `patience`. Returns its id if it came back to us,
-- and null otherwise. With no ticket to sleep on, it just sleeps.
--
-- In a small semaphore, the first `turn` is for the ticket that has been held longest, the next one for the second, and
-- so round: the likeliest to come back first, without trusting in it. In a large one any will do.
CREATE FUNCTION dbsemaphore.await_one(
    semaphore bigint, slots integer, already bigint[], turn integer, patience interval)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    start integer;
    got bigint;
BEGIN
    -- Not 0, should no time be left: that would mean for ever.
    PERFORM set_config('lock_timeout', greatest(1, ceil(extract(epoch FROM patience) * 1000))::bigint::text, true);
    IF slots <= 64 THEN
        SELECT t.id INTO got FROM dbsemaphore.ticket t
        WHERE t.semaphore_id = semaphore AND t.slot = (
            SELECT o.slot FROM dbsemaphore.ticket o
            WHERE o.semaphore_id = semaphore AND o.slot < slots AND o.id <> ALL (already)
            ORDER BY age(o.xmax) DESC OFFSET turn % greatest(1, slots - cardinality(already)) LIMIT 1)
        FOR NO KEY UPDATE;
    ELSE
        start := floor(random() * slots);
        SELECT t.id INTO got FROM dbsemaphore.ticket t
        WHERE t.semaphore_id = semaphore AND t.slot >= start AND t.slot < slots AND t.id <> ALL (already)
        ORDER BY t.slot LIMIT 1 FOR NO KEY UPDATE;
    END IF;
    IF got IS NULL THEN
        PERFORM pg_sleep(least(0.4, extract(epoch FROM patience)));
    END IF;
    RETURN got;
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END
$$;

-- Stands in line until it has locked `wanted` tickets beside those in `already`, and returns their ids; null, and
-- nothing locked, when `deadline` comes first or there can't be as many. Raises lock_not_available at `give_up`, which is
-- the caller's lock_timeout. Null for either is never. `from_top`: those with the highest slots. `cancellation`: see
-- `_cancel_wait`.
CREATE FUNCTION dbsemaphore.stand_in_line(
    semaphore bigint, wanted integer, already bigint[], deadline timestamptz, give_up timestamptz, from_top boolean,
    cancellation bigint)
RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    turnstile bigint := dbsemaphore.key('t', semaphore);
    barrier bigint := dbsemaphore.key('b', semaphore);
    wants bigint := dbsemaphore.key('w', wanted);
    cancellable bigint := dbsemaphore.key('c', cancellation);
    callers_lock_timeout text := current_setting('lock_timeout');
    over timestamptz := least(deadline, give_up);
    -- PostgreSQL's own statement_timeout is lost if it comes at the instant of a lock_timeout, and so is a cancel.
    too_late timestamptz := statement_timestamp() + interval '50 ms'
        + nullif(current_setting('statement_timeout')::interval, interval '0');
    deadlock_timeout interval := current_setting('deadlock_timeout')::interval;
    -- Less than `deadlock_timeout`: a longer sleep on a lock is written into the server's log, if `log_lock_waits` is on.
    -- Where that would be many sleeps a second, it is logged.
    short_sleep interval := CASE WHEN deadlock_timeout < interval '0.1 s' THEN interval '0.4 s'
                           ELSE least(interval '0.4 s', deadlock_timeout * 0.8) END;
    long_one_is_due timestamptz;
    pause interval;
    is_long boolean;
    since timestamptz;
    barred boolean;
    slots integer;
    dense boolean;
    turn integer;
    one bigint;
    taken bigint[];
    published integer;
BEGIN
    LOOP
        taken := '{}';
        barred := false;
        turn := 0;
        BEGIN
            IF over IS NOT NULL THEN
                PERFORM set_config('lock_timeout', least(2147483647, greatest(1,
                    ceil(extract(epoch FROM over - clock_timestamp()) * 1000)))::bigint::text, true);
            END IF;
            PERFORM pg_advisory_lock_shared(wants), pg_advisory_lock_shared(cancellable);
            PERFORM pg_advisory_lock(turnstile);
            since := clock_timestamp();
            long_one_is_due := since;
            pause := interval '4 s';
            LOOP
                SELECT s.slots, s.dense INTO slots, dense FROM dbsemaphore.semaphore s WHERE s.id = semaphore;
                published := cardinality(taken);
                IF from_top OR slots <= 64 THEN
                    taken := taken || ARRAY(
                        SELECT t.id FROM dbsemaphore.ticket t
                        WHERE t.semaphore_id = semaphore AND t.slot < slots AND t.id <> ALL (already || taken)
                        ORDER BY t.slot DESC
                        LIMIT wanted - cardinality(taken)
                        FOR NO KEY UPDATE SKIP LOCKED);
                ELSIF slots > 0 THEN
                    taken := taken || dbsemaphore.lock_free(
                        semaphore, slots, dense, wanted - cardinality(taken), already || taken, false, true);
                END IF;
                IF cardinality(taken) > published THEN
                    PERFORM dbsemaphore._publish_held_tickets(taken[published + 1:]);
                END IF;
                EXIT WHEN cardinality(taken) >= wanted;

                -- Closed (no slots), it lets everybody wait; those who want more than there are can't be served, nor
                -- those of a semaphore that is gone. A resize that was before us in the line may not have committed
                -- when we first look, so this is asked each time.
                IF slots IS NULL OR clock_timestamp() >= over
                    OR (slots > 0 AND wanted + cardinality(already) > 1 AND wanted + cardinality(already) > (
                        SELECT count(*) FROM (
                            SELECT FROM dbsemaphore.ticket t
                            WHERE t.semaphore_id = semaphore AND t.slot < slots
                            ORDER BY t.slot LIMIT wanted + cardinality(already)) AS t))
                THEN
                    RAISE EXCEPTION USING ERRCODE = 'DBS00';
                END IF;
                IF clock_timestamp() >= too_late THEN
                    RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled';
                END IF;
                IF NOT barred THEN
                    -- Those who pass hold it for as long as one expression takes.
                    PERFORM pg_advisory_lock(barrier);
                    barred := true;
                END IF;
                -- With several tickets, any of them may come back, and so the one slept on is changed, the less often
                -- the longer it takes.
                --
                -- With one there is nothing to change to. PostgreSQL looks for a deadlock when a sleep has lasted for
                -- `deadlock_timeout`, and finds it if all others in the cycle sleep. So the first sleep is a long one: the
                -- last to join the cycle finds the others in short ones, between which they are awake for a few
                -- milliseconds. Should it miss one of them, a later long one finds the cycle.
                is_long := slots = 1 AND clock_timestamp() >= long_one_is_due;
                one := dbsemaphore.await_one(semaphore, slots, already || taken, turn, least(
                    over - clock_timestamp(),
                    CASE WHEN is_long THEN deadlock_timeout + interval '0.4 s'
                         WHEN slots = 1 THEN short_sleep
                         ELSE least(short_sleep, greatest(interval '2 ms', (clock_timestamp() - since) / 20)) END));
                IF is_long THEN
                    long_one_is_due := clock_timestamp() + pause;
                    pause := least(pause * 2, interval '60 s');
                END IF;
                turn := turn + 1;
                IF one IS NOT NULL THEN
                    taken := taken || one;
                    PERFORM dbsemaphore._publish_held_tickets(ARRAY[one]);
                END IF;
            END LOOP;
            IF current_setting('lock_timeout') <> callers_lock_timeout THEN
                PERFORM set_config('lock_timeout', callers_lock_timeout, true);
            END IF;
            PERFORM CASE WHEN barred THEN pg_advisory_unlock(barrier) END, pg_advisory_unlock(turnstile),
                pg_advisory_unlock_shared(wants), pg_advisory_unlock_shared(cancellable);
            RETURN taken;
        EXCEPTION
            WHEN SQLSTATE 'DBS00' OR lock_not_available THEN
                PERFORM dbsemaphore.leave();
                IF clock_timestamp() >= give_up AND (deadline IS NULL OR give_up < deadline) THEN
                    RAISE EXCEPTION 'canceling statement due to lock timeout'
                        USING ERRCODE = 'lock_not_available', HINT = 'lock_timeout bounds the whole wait for a ticket';
                END IF;
                RETURN NULL;
            WHEN deadlock_detected THEN
                PERFORM dbsemaphore.leave();
                -- PostgreSQL chose its victim among all in the cycle. One that holds nothing isn't what it is about.
                IF current_setting('dbsemaphore.held', true) <> '' THEN
                    RAISE;
                END IF;
            WHEN query_canceled THEN
                PERFORM dbsemaphore.leave();
                RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM,
                    HINT = 'the wait for a ticket was cancelled, by statement_timeout or by another session';
            WHEN OTHERS THEN
                PERFORM dbsemaphore.leave();
                RAISE;
        END;
    END LOOP;
END
$$;

-- `acquire`, waiting in line for at most that many milliseconds, for ever if it is null. It answers likewise.
CREATE FUNCTION dbsemaphore.wait(
    semaphore_name text, wanted integer, host_timeout integer, label text, milliseconds bigint,
    cancellation bigint)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + milliseconds * interval '1 ms';
    give_up timestamptz := clock_timestamp() + nullif(current_setting('lock_timeout')::interval, interval '0');
    answer text := CASE WHEN wanted = 1 AND label IS NULL
        THEN dbsemaphore.acquire_one(semaphore_name, host_timeout)
        ELSE dbsemaphore.acquire(semaphore_name, wanted, host_timeout, label) END;
    numbers bigint[] := answer;
    semaphore bigint := numbers[1];
    already bigint[];
    taken bigint[];
BEGIN
    -- Unknown, granted, or more than there are.
    IF semaphore IS NULL OR cardinality(numbers) > 2 OR (numbers[2] > 0 AND numbers[2] < wanted) THEN
        RETURN answer;
    END IF;

    IF label IS NOT NULL THEN
        PERFORM dbsemaphore.wear(label);
    END IF;
    already := (SELECT r.tickets FROM dbsemaphore.recall(semaphore) AS r);
    taken := dbsemaphore.stand_in_line(
        semaphore, wanted - cardinality(already), already, deadline, give_up, false, cancellation);
    IF taken IS NOT NULL THEN
        RETURN dbsemaphore.remember(semaphore, already || taken);
    END IF;
    -- Out of time, or the semaphore isn't what it was.
    RETURN (
        SELECT ARRAY[s.id, (SELECT count(*) FROM (
            SELECT FROM dbsemaphore.ticket t WHERE t.semaphore_id = s.id ORDER BY t.slot LIMIT wanted) AS t)]
        FROM dbsemaphore.semaphore s WHERE s.name = semaphore_name);
END
$$;

-- Cancels the waits with this number. A waiter holds the advisory lock (c) of its number exactly while it waits, so no
-- session is cancelled for what it did before or does afterwards. Returns whether there was one.
CREATE FUNCTION dbsemaphore._cancel_wait(cancellation bigint) RETURNS boolean
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(bool_or(pg_cancel_backend(l.pid)), false)
    FROM dbsemaphore.locks() AS l
    WHERE l.granted AND l.kind = 'c' AND l.number = cancellation
$$;

-- Deletes `surplus` tickets, for which it stands in line like any other waiter; those that it has got so far can't be
-- acquired meanwhile. Tickets that this transaction holds itself are retired last, and without waiting: they stay its
-- own until it ends. Waits at most the caller's lock_timeout in all; if it fails, all tickets are back.
CREATE FUNCTION dbsemaphore.retire(semaphore bigint, surplus integer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    give_up timestamptz := clock_timestamp() + nullif(current_setting('lock_timeout')::interval, interval '0');
    own bigint[] := (SELECT r.tickets FROM dbsemaphore.recall(semaphore) AS r);
    others integer := (SELECT count(*) FROM (
        SELECT t.id FROM dbsemaphore.ticket t WHERE t.semaphore_id = semaphore ORDER BY t.slot) AS t
        WHERE t.id <> ALL (own));
    gone bigint[] := '{}';
BEGIN
    IF others > 0 THEN
        gone := dbsemaphore.stand_in_line(semaphore, least(surplus, others), own, NULL, give_up, true, NULL);
    END IF;
    IF gone IS NULL THEN
        RAISE EXCEPTION 'tickets of semaphore % have disappeared while it was resized', semaphore;
    END IF;
    gone := gone || own[1:surplus - others];
    DELETE FROM dbsemaphore.ticket t WHERE t.id = ANY (gone);
END
$$;

-- For databases whose owner has taken this away by default: USAGE on the schema is what decides.
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dbsemaphore TO PUBLIC;
