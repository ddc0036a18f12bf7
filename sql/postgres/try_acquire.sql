-- Where `_try_acquire` looks first: at the tickets from a random key to `_search_width` below, and then at those to as much
-- above. These are all tickets of a semaphore with up to 31 slots, some 64 of one with up to 10,000, and some 256 of a larger
-- one, where `_lock_available_tickets` costs more. Near the ends of the keys, they are fewer.
CREATE OR REPLACE FUNCTION dbsemaphore._random_search_key() RETURNS integer
LANGUAGE sql
RETURN (random() * 2147483647)::integer;

CREATE OR REPLACE FUNCTION dbsemaphore._search_width(slot_bound integer) RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN 2147483647 / (1 + slot_bound / CASE WHEN slot_bound > 10000 THEN 128 ELSE 32 END);

-- Whether one ticket is requested, by a transaction that holds none.
CREATE OR REPLACE FUNCTION dbsemaphore._is_simple(requested integer) RETURNS boolean
LANGUAGE sql STABLE
RETURN requested = 1 AND coalesce(current_setting('dbsemaphore.held_tickets', true) = '', true);

-- Makes sure that this transaction holds at least `requested` tickets of a semaphore, all or none, without waiting. Returns
--   'acquired TOKEN ID,ID'  all tickets of the semaphore that the transaction holds, and their fencing token;
--   'unavailable'           too few tickets were found available, or somebody waits for one;
--   'too_few SIZE'          the semaphore has that many tickets, and `requested` is more;
--   'unknown'               there is no such semaphore.
-- The answer is one text, because OUT parameters cost a guard 4 % more of the server's instructions as a record, and 10 % more
-- as columns (counted as `make bench-instructions` does). The client has checked all arguments.
--
-- With a `host_timeout_s` the transaction is that of a guard, a `SemaphoreTicket` in Rust: see `_apply_guard_settings`. The
-- transaction has the label from a wait or an acquisition on, until it or its savepoint ends.
--
-- Most calls find an available ticket near a random key, and are the first of their transaction. PostgreSQL initializes each
-- expression of a PL/pgSQL function once in each transaction, which costs as much as its evaluation. So this function has few
-- expressions, and qualifies each name instead of setting search_path. PostgreSQL inlines a function in SQL whose body is RETURN
-- and an expression, unless an argument that the function uses twice is a call.
--
-- PostgreSQL reads this text under the settings of the caller. So no string has a backslash, which
-- standard_conforming_strings = off would take for an escape.
CREATE OR REPLACE FUNCTION dbsemaphore._try_acquire(
    semaphore_name text, requested integer, host_timeout_s integer, label text)
RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off
AS $$
#variable_conflict use_variable
DECLARE
    semaphore_id bigint;
    start_key bigint;
    width bigint;
    timeline integer;
    next_timeline pg_catalog.text;
    epoch integer;
    is_simple boolean;
    is_blocked boolean;
    ticket_id bigint;
    token bigint;
    unused pg_catalog.text;
BEGIN
    IF host_timeout_s IS NOT NULL THEN
        -- An assignment costs less than PERFORM, which is a query.
        unused := dbsemaphore._apply_guard_settings(host_timeout_s);
    END IF;

    SELECT s.id, dbsemaphore._random_search_key(), dbsemaphore._search_width(s.slot_bound),
        s.timeline, s.next_timeline, s.epoch,
        dbsemaphore._is_simple(requested), dbsemaphore._has_blocked_waiter(s.id)
    INTO semaphore_id, start_key, width, timeline, next_timeline, epoch, is_simple, is_blocked
    FROM dbsemaphore.semaphore s
    WHERE s.name OPERATOR(pg_catalog.=) semaphore_name;

    IF is_simple AND is_blocked THEN
        IF host_timeout_s IS NOT NULL THEN
            unused := dbsemaphore._apply_guard_wait_settings();
        END IF;
        RETURN CASE WHEN dbsemaphore._check_row_security(true) THEN 'unavailable' END;
    END IF;
    IF is_simple THEN
        -- PL/pgSQL takes the first row anyway, but with plpgsql.extra_errors it would lock a second one: hence LIMIT. A bitmap
        -- scan would need a sort, which is off.
        SELECT t.id INTO ticket_id
        FROM dbsemaphore.ticket t
        WHERE t.semaphore_id OPERATOR(pg_catalog.=) semaphore_id
          AND t.search_key OPERATOR(pg_catalog.<=) start_key
          AND t.search_key OPERATOR(pg_catalog.>=) (start_key OPERATOR(pg_catalog.-) width)
        ORDER BY t.search_key DESC
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED;
        IF ticket_id IS NULL THEN
            SELECT t.id INTO ticket_id
            FROM dbsemaphore.ticket t
            WHERE t.semaphore_id OPERATOR(pg_catalog.=) semaphore_id
              AND t.search_key OPERATOR(pg_catalog.>) start_key
              AND t.search_key OPERATOR(pg_catalog.<=) (start_key OPERATOR(pg_catalog.+) width)
            ORDER BY t.search_key
            LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED;
        END IF;
        IF ticket_id IS NOT NULL THEN
            token := dbsemaphore._next_fencing_token(timeline, next_timeline, epoch);
            -- Nobody but its guard could ask the transaction of a guard for more tickets.
            IF host_timeout_s IS NULL THEN
                unused := pg_catalog.set_config('dbsemaphore.held_tickets',
                    pg_catalog.concat(' {', semaphore_id, ',', token, ',', ticket_id, '}'), true);
            END IF;
            IF label IS NOT NULL THEN
                unused := dbsemaphore._set_label(label);
            END IF;
            -- A call that returns void is not null. So this condition is the call.
            RETURN CASE WHEN pg_catalog.pg_advisory_xact_lock_shared(dbsemaphore._holder_key(ticket_id)) IS NOT NULL
                THEN pg_catalog.concat('acquired ', token, ' ', ticket_id) END;
        END IF;
    END IF;
    RETURN dbsemaphore._try_acquire_any(semaphore_id, requested, label, host_timeout_s IS NOT NULL);
END
$$;

-- The rest of `_try_acquire`: for several tickets, for a transaction that holds some already, and if no ticket was found near
-- a random key. `semaphore_id` is null if there is no such semaphore.
CREATE OR REPLACE FUNCTION dbsemaphore._try_acquire_any(
    semaphore_id bigint, requested integer, label text, is_guard boolean)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_variable
DECLARE
    held_ids bigint[];
    locked_ids bigint[] := '{}';
    token bigint;
    slot_bound integer;
BEGIN
    IF semaphore_id IS NULL THEN
        PERFORM dbsemaphore._check_row_security(true);
        RETURN 'unknown';
    END IF;
    SELECT h.ticket_ids, h.token INTO held_ids, token FROM dbsemaphore._get_own_tickets(semaphore_id) AS h;
    IF cardinality(held_ids) < requested THEN
        SELECT s.slot_bound INTO slot_bound FROM dbsemaphore.semaphore s WHERE s.id = semaphore_id;
        IF slot_bound IS NULL THEN
            RETURN 'unknown';
        END IF;
        IF slot_bound > 0 AND NOT dbsemaphore._has_blocked_waiter(semaphore_id) THEN
            locked_ids := dbsemaphore._lock_all_or_none(
                semaphore_id, slot_bound, requested - cardinality(held_ids), held_ids);
        END IF;
        IF locked_ids = '{}' THEN
            PERFORM dbsemaphore._check_row_security(true);
            IF is_guard THEN
                PERFORM dbsemaphore._apply_guard_wait_settings();
            END IF;
            RETURN dbsemaphore._refusal(semaphore_id, requested);
        END IF;
        PERFORM dbsemaphore._publish_held_tickets(locked_ids);
        IF label IS NOT NULL THEN
            PERFORM dbsemaphore._set_label(label);
        END IF;
        held_ids := held_ids || locked_ids;
        token := dbsemaphore._record_own_tickets(semaphore_id, held_ids);
    END IF;
    RETURN dbsemaphore._acquired(token, held_ids);
END
$$;

-- The answer that these tickets are held.
CREATE OR REPLACE FUNCTION dbsemaphore._acquired(token bigint, ticket_ids bigint[]) RETURNS text
LANGUAGE sql STABLE
RETURN concat('acquired ', token, ' ', array_to_string(ticket_ids, ','));

-- The answer that too few tickets are available. At size 0, a semaphore is closed: it is never too small.
CREATE OR REPLACE FUNCTION dbsemaphore._refusal(semaphore_id bigint, requested integer) RETURNS text
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    size bigint;
BEGIN
    IF requested = 1 THEN
        RETURN 'unavailable';
    END IF;
    -- With `slot_bound`, deleted tickets are not looked at.
    size := (
        SELECT count(*) FROM (
            SELECT FROM dbsemaphore.ticket t
            WHERE t.semaphore_id = semaphore_id
              AND t.slot < (SELECT s.slot_bound FROM dbsemaphore.semaphore s WHERE s.id = semaphore_id)
            ORDER BY t.slot LIMIT requested) AS t);
    RETURN CASE WHEN size BETWEEN 1 AND requested - 1 THEN concat('too_few ', size) ELSE 'unavailable' END;
END
$$;
