-- Every call of `acquire` is in a new transaction, as a rule, and PostgreSQL makes each expression of a PL/pgSQL function
-- ready anew in each transaction; that costs as much as to evaluate it, and a query costs more. So what is on the way of
-- each acquisition is in few expressions, made of small functions in SQL. PostgreSQL inlines those whose body is RETURN
-- and an expression, unless an argument that they use twice is a call. The names in them are looked up here and now,
-- whatever the search path is when they are called.
--
-- PL/pgSQL, and SQL between dollar signs, is read when it runs, under the caller's settings. So no string here contains a
-- backslash: `standard_conforming_strings` = off would take it for an escape.

-- Those of the `slots` whose tickets may be free, as far as can be told from the `holders` (`xmax`) that were just read:
-- from `start` on and round. The others were held at the instant at which this began, by transactions that hadn't ended:
-- those that the snapshot lists, and those that are newer than all that had ended.
-- It can't be told at all
--   from a snapshot that is older than what was read, as in REPEATABLE READ;
--   of the number of an older sub-transaction, or one that could be that of a group of lockers (a multixact);
--   once a foreign key of somebody's points at tickets: then a lock may be a weaker one, which takes none out of service.
CREATE FUNCTION dbsemaphore.may_be_free(slots integer[], holders xid[], start integer) RETURNS integer[]
LANGUAGE plpgsql AS $$
DECLARE
    now pg_snapshot := pg_current_snapshot();
    newer_than integer := age(pg_snapshot_xmax(now)::xid);
    can_tell boolean := current_setting('transaction_isolation') = 'read committed' AND NOT EXISTS (
        SELECT FROM pg_trigger t
        WHERE t.tgrelid = 'dbsemaphore.ticket'::regclass AND t.tgconstrrelid <> 'dbsemaphore.semaphore'::regclass);
BEGIN
    RETURN ARRAY(
        SELECT t.slot FROM (SELECT unnest(slots) AS slot, unnest(holders) AS holder) AS t
        WHERE NOT (can_tell AND mxid_age(t.holder) <= 0 AND (
            age(t.holder) <= newer_than
            OR t.holder IN (SELECT r.number::xid FROM pg_snapshot_xip(now) AS r (number))))
        ORDER BY t.slot < start, t.slot);
END
$$;

-- Locks up to `wanted` free tickets and returns their ids, fewer if fewer are free. Tickets in `already` don't count.
-- `slots` and `dense` are those of the semaphore.
--
-- SKIP LOCKED steps over held tickets one by one, so where it starts decides what it costs. First come a few handfuls of
-- random slots, each four times the last; the first is left out by those who have just `looked` at a few. Then, with up to
-- 10,000 tickets, it is read who holds each (`xmax`), which costs a fraction of trying it, and those are tried that
-- `may_be_free`, from a random one and round. With more, all are tried.
--
-- One look isn't enough to say "none free": between reading and trying, one that was held may come back, and the one that
-- was free may go. So it says that only if none could be free, or if after it each had the same holder as before: then all
-- were held at one instant. In a very busy semaphore that would take for ever; there, a few tries have to do, and one for
-- those who don't need to be `certain`, or have more than 10,000.
--
-- NO KEY UPDATE is the weakest lock that excludes itself: a foreign key of the application's that points at a ticket
-- neither blocks on it nor takes it out of service.
--
-- Only called from functions that fix the planner's settings; see `acquire`.
CREATE FUNCTION dbsemaphore.lock_free(
    semaphore bigint, slots integer, dense boolean, wanted integer, already bigint[], certain boolean, looked boolean)
RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    start integer := floor(random() * slots);
    handful integer := CASE WHEN NOT dense OR slots < 64 THEN NULL WHEN looked THEN 64 ELSE 16 END;
    is_small boolean := 10000 >= CASE WHEN dense THEN slots ELSE (
        SELECT count(*) FROM (SELECT FROM dbsemaphore.ticket t
                              WHERE t.semaphore_id = semaphore AND t.slot < slots
                              ORDER BY t.slot LIMIT 10001) AS t) END;
    tries integer := CASE WHEN certain AND is_small THEN 10 ELSE 1 END;
    taken bigint[] := '{}';
    known bigint[];
    known_slots integer[];
    tried integer[];
    was_held xid[];
    now_held xid[];
BEGIN
    WHILE cardinality(taken) < wanted AND handful <= greatest(16, least(slots / 32, 1024)) AND wanted <= handful / 4 LOOP
        taken := taken || ARRAY(
            SELECT t.id
            FROM (SELECT floor(random() * slots)::integer AS slot FROM generate_series(1, handful)) AS r,
                LATERAL (
                    SELECT t.id FROM dbsemaphore.ticket t
                    WHERE t.semaphore_id = semaphore AND t.slot = r.slot AND t.id <> ALL (already || taken)
                    FOR NO KEY UPDATE SKIP LOCKED) AS t
            LIMIT wanted - cardinality(taken));
        IF wanted > 1 THEN
            -- A slot that came up twice gave its ticket twice: SKIP LOCKED doesn't skip locks of one's own.
            taken := ARRAY(SELECT DISTINCT t FROM unnest(taken) AS t);
        END IF;
        handful := handful * 4;
    END LOOP;

    WHILE cardinality(taken) < wanted AND tries > 0 LOOP
        tries := tries - 1;
        known := already || taken;
        IF is_small THEN
            SELECT array_agg(t.slot), array_agg(t.xmax) INTO known_slots, now_held
            FROM (SELECT o.slot, o.xmax FROM dbsemaphore.ticket o
                  WHERE o.semaphore_id = semaphore AND o.slot < slots ORDER BY o.slot) AS t;
            EXIT WHEN now_held = was_held;
            was_held := now_held;
            tried := dbsemaphore.may_be_free(known_slots, now_held, start);
            EXIT WHEN tried = '{}';
            taken := taken || ARRAY(
                SELECT t.id
                FROM unnest(tried) AS r (slot),
                    LATERAL (
                        SELECT t.id FROM dbsemaphore.ticket t
                        WHERE t.semaphore_id = semaphore AND t.slot = r.slot AND t.id <> ALL (known)
                        FOR NO KEY UPDATE SKIP LOCKED) AS t
                LIMIT wanted - cardinality(taken));
        ELSE
            taken := taken || ARRAY(
                SELECT t.id FROM dbsemaphore.ticket t
                WHERE t.semaphore_id = semaphore AND t.slot >= start AND t.slot < slots AND t.id <> ALL (known)
                ORDER BY t.slot
                LIMIT wanted - cardinality(taken)
                FOR NO KEY UPDATE SKIP LOCKED);
            IF cardinality(taken) < wanted THEN
                taken := taken || ARRAY(
                    SELECT t.id FROM dbsemaphore.ticket t
                    WHERE t.semaphore_id = semaphore AND t.slot < start AND t.id <> ALL (known)
                    ORDER BY t.slot
                    LIMIT wanted - cardinality(taken)
                    FOR NO KEY UPDATE SKIP LOCKED);
            END IF;
        END IF;
    END LOOP;
    RETURN taken;
END
$$;

-- Rises with every acquisition of a ticket: in the high bits an epoch, which each promotion of a standby and each recorded
-- move to another cluster raise; below it the clock in microseconds. To be called when the row locks are held. No sequence
-- would do: what it gave out is forgotten in a crash, since a transaction that is rolled back flushes nothing. `timeline`,
-- `next_timeline` and `epoch` are those of the semaphore. While the timeline is the recorded one, its number is not worked out:
-- that would cost half as much again.
CREATE FUNCTION dbsemaphore._next_fencing_token(timeline integer, next_timeline text, epoch integer) RETURNS bigint
LANGUAGE sql
RETURN (CASE WHEN pg_walfile_name(pg_current_wal_lsn()) < next_timeline COLLATE "C" THEN epoch
             ELSE epoch + greatest(0, dbsemaphore._current_timeline() - timeline) END % 2048)::bigint << 52
    | (date_part('epoch', clock_timestamp()) * 1000000)::bigint;

-- The keys of this library's advisory locks. Their upper half is "dbs" in ASCII and a letter that says what the lower half
-- is about. Two are a semaphore's line: whoever holds its turnstile (t) is at its head; its barrier (b) is explained at
-- `is_barred`. The others nobody ever waits for: what waiters show of themselves, as shared locks, because these are gone
-- when the session is: how many tickets each waits for (w), and under which number its wait can be cancelled (c).
CREATE FUNCTION dbsemaphore.key(kind text, number bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE
RETURN x'6462730000000000'::bigint | (ascii(kind)::bigint << 32) | (number & x'ffffffff'::bigint);

-- While a waiter at the head of the line has looked and found too few, it holds the barrier, and nobody overtakes it.
-- The look at the barrier is one expression, so that no cancel comes between the lock and the unlock.
CREATE FUNCTION dbsemaphore.is_barred(semaphore bigint) RETURNS boolean
LANGUAGE sql
RETURN CASE WHEN pg_try_advisory_lock_shared(dbsemaphore.key('b', semaphore))
            THEN NOT pg_advisory_unlock_shared(dbsemaphore.key('b', semaphore)) ELSE true END;

-- What a transaction holds is remembered in the setting `dbsemaphore.held`, as ' {semaphore,token,ticket,ticket}' for each
-- semaphore: a setting made with SET LOCAL follows transactions and savepoints exactly as row locks do.
CREATE FUNCTION dbsemaphore.recall(semaphore bigint, OUT tickets bigint[], OUT token bigint)
LANGUAGE plpgsql AS $$
DECLARE
    noted bigint[] := (regexp_match(
        current_setting('dbsemaphore.held', true), ' ([{]' || semaphore || ',[0-9,]+[}])'))[1];
BEGIN
    tickets := coalesce(noted[3:], '{}');
    token := noted[2];
END
$$;

-- For others to see who holds a ticket and since when: an advisory lock that its transaction holds exactly as long, whether
-- a sub-transaction has locked the row, a foreign key has added a locker to it, or the transaction was prepared. The key has
-- 8 bits of a constant, 26 of the ticket's id, and 30 of the time, in 32nds of a second.
CREATE FUNCTION dbsemaphore._holder_key(ticket bigint) RETURNS bigint
LANGUAGE sql
RETURN x'db00000000000000'::bigint | ((ticket & 67108863) << 30)
    | ((date_part('epoch', clock_timestamp()) * 32)::bigint & 1073741823);

-- Takes that lock for each ticket. Of very many it is the first 64: each takes a place in PostgreSQL's lock table, and
-- tickets that were locked together can be told by the number of their locker.
CREATE FUNCTION dbsemaphore._publish_held_tickets(tickets bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(dbsemaphore._holder_key(t.id)) FROM unnest(tickets[:64]) AS t (id);
END
$$;

-- The same for one ticket. Returns what was `granted`.
CREATE FUNCTION dbsemaphore._publish_held_ticket(ticket bigint, granted text) RETURNS text
LANGUAGE sql
RETURN CASE WHEN pg_advisory_xact_lock_shared(dbsemaphore._holder_key(ticket)) IS NOT NULL THEN granted END;

-- Remembers that these are the tickets of the semaphore that the transaction holds. Returns what `acquire` does.
CREATE FUNCTION dbsemaphore.remember(semaphore bigint, tickets bigint[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    held_else text := regexp_replace(
        coalesce(current_setting('dbsemaphore.held', true), ''), ' [{]' || semaphore || ',[0-9,]+[}]', '');
    token bigint := (
        SELECT dbsemaphore._next_fencing_token(s.timeline, s.next_timeline, s.epoch)
        FROM dbsemaphore.semaphore s WHERE s.id = semaphore);
    granted text := ARRAY[semaphore, token] || tickets;
BEGIN
    PERFORM set_config('dbsemaphore.held', held_else || ' ' || granted, true);
    RETURN granted;
END
$$;

-- What others may see of a transaction, whoever they are, is its application name: so that is where a label goes. It is
-- cut at 63 characters.
CREATE FUNCTION dbsemaphore.wear(label text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    application text := (SELECT n.application FROM dbsemaphore.named(current_setting('application_name')) AS n);
BEGIN
    PERFORM set_config('application_name', concat_ws(' ',
        nullif(left(application, 52 - length(label)), ''), concat('[ticket: ', label, ']')), true);
END
$$;

-- The parts that `wear` has joined.
CREATE FUNCTION dbsemaphore.named(application_name text, OUT application text, OUT label text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT nullif(regexp_replace(application_name, ' ?[[]ticket: .*[]]$', ''), ''),
        (regexp_match(application_name, '[[]ticket: (.*)[]]$'))[1]
$$;

-- Switches off, until the transaction ends, what would end it while its guard works, and bounds for how many seconds a host that
-- has vanished keeps its tickets. TCP asks the host for the first time after a third of them; four unanswered questions take
-- the rest. A Unix socket has no host to ask. Windows has no TCP user time-out: there the questions decide.
--
-- A time-out that is off already is switched off, too: else the server's administrator could switch it on for this
-- transaction, which obeys a changed configuration from its next statement on.
CREATE FUNCTION dbsemaphore.keep(host_timeout integer) RETURNS text
LANGUAGE sql
RETURN concat(
    set_config('idle_in_transaction_session_timeout', '0', true),
    set_config('lock_timeout', '0', true),
    set_config('statement_timeout', '0', true),
    -- PostgreSQL 17 has added it.
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', true) END,
    CASE WHEN inet_client_addr() IS NOT NULL THEN concat(
        set_config('tcp_keepalives_idle', greatest(1, host_timeout / 3)::text, true),
        set_config('tcp_keepalives_interval', greatest(1, host_timeout / 6)::text, true),
        set_config('tcp_keepalives_count', '4', true),
        set_config('tcp_user_timeout', (host_timeout * 1000)::text, true)) END);

-- Raises if row level security may hide rows of the tables from this role, and returns true otherwise. A hidden ticket looks
-- like a held one, and a hidden semaphore like none. So what answers "none" or "so many" asks this. A policy whose
-- expression is `true` hides nothing. `to_lock`: the role also needs one for UPDATE.
CREATE FUNCTION dbsemaphore._check_row_security(to_lock boolean) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tables regclass[] := '{dbsemaphore.semaphore,dbsemaphore.ticket}';
    hiding text;
BEGIN
    -- Nearly always, without a query.
    IF NOT (row_security_active(tables[1]) OR row_security_active(tables[2])) THEN
        RETURN true;
    END IF;
    hiding := (
        SELECT string_agg(format('%s.%s', c.relnamespace::regnamespace, c.relname), ', ')
        FROM pg_class c, LATERAL (
            SELECT bool_and(p.polpermissive) IS TRUE
                AND bool_or(p.shows_all AND p.polcmd IN ('*', 'r'))
                AND (NOT to_lock OR bool_or(p.shows_all AND p.polcmd IN ('*', 'w')))
            FROM (SELECT p.polpermissive, p.polcmd,
                    pg_get_expr(p.polqual, p.polrelid) = 'true' AND EXISTS (
                        SELECT FROM unnest(p.polroles) AS r (role)
                        WHERE r.role = 0 OR pg_has_role(r.role, 'USAGE')) AS shows_all
                  FROM pg_policy p WHERE p.polrelid = c.oid) AS p) AS policies (show_all)
        WHERE c.oid = ANY (tables) AND row_security_active(c.oid) AND policies.show_all IS NOT TRUE);
    IF hiding IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('semaphores are not fully visible: row level security may hide rows of %s from the role %s',
                hiding, current_user),
            HINT = 'disable it for the tables of the schema dbsemaphore, or give the role a policy FOR ALL USING (true), or '
                'the attribute BYPASSRLS';
    END IF;
    RETURN true;
END
$$;

-- Makes sure that this transaction holds at least `wanted` tickets, all or nothing, without waiting. Returns, as text,
-- which costs less to send than an array,
--   null                           when there is no such semaphore,
--   {semaphore}                    when too few are free,
--   {semaphore, size}              likewise, of several: `size` is how many it has at all, counted up to `wanted`,
--   {semaphore, token, ticket ..}  with all tickets that the transaction now holds of it, and their fencing token.
--
-- A `host_timeout`, in seconds, says that the transaction only holds tickets: see `keep`. The label is worn while the
-- tickets are held.
--
-- The planner's settings are fixed because a plan outlives the table it was made for: one made when there were three
-- tickets would scan the whole table when there are a hundred thousand. They leave it only the index on semaphore and
-- slot: each look at tickets either is ordered by slot, which another index would need a sort for, or gives one slot.
CREATE FUNCTION dbsemaphore.acquire(
    semaphore_name text, wanted integer, host_timeout integer, label text)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    already bigint[] := '{}';
    missing integer := wanted;
    semaphore bigint;
    slots integer;
    dense boolean;
    token bigint;
    tickets bigint[];
BEGIN
    IF host_timeout IS NOT NULL THEN
        PERFORM dbsemaphore.keep(host_timeout);
    END IF;
    SELECT s.id, s.slots, s.dense INTO semaphore, slots, dense
    FROM dbsemaphore.semaphore s WHERE s.name = semaphore_name;
    IF semaphore IS NULL THEN
        PERFORM dbsemaphore._check_row_security(true);
        RETURN NULL;
    END IF;

    IF current_setting('dbsemaphore.held', true) <> '' THEN
        SELECT r.tickets, r.token INTO already, token FROM dbsemaphore.recall(semaphore) AS r;
        missing := wanted - cardinality(already);
        IF missing <= 0 THEN
            RETURN ARRAY[semaphore, token] || already;
        END IF;
    END IF;

    IF slots = 0 THEN
        RETURN ARRAY[semaphore, 0];
    ELSIF dbsemaphore.is_barred(semaphore) THEN
        tickets := already;
    ELSIF missing = 1 THEN
        tickets := already || dbsemaphore.lock_free(
            semaphore, slots, dense, 1, already, true, label IS NULL);
    ELSE
        -- Too few are given back by rolling back to where none of them was taken.
        BEGIN
            tickets := already || dbsemaphore.lock_free(
                semaphore, slots, dense, missing, already, true, false);
            IF cardinality(tickets) < wanted THEN
                RAISE EXCEPTION USING ERRCODE = 'DBS00';
            END IF;
        EXCEPTION WHEN SQLSTATE 'DBS00' THEN
            tickets := already;
        END;
    END IF;

    IF cardinality(tickets) < wanted THEN
        PERFORM dbsemaphore._check_row_security(true);
        IF wanted = 1 THEN
            RETURN ARRAY[semaphore];
        END IF;
        RETURN ARRAY[semaphore, (SELECT count(*) FROM (
            SELECT FROM dbsemaphore.ticket t
            WHERE t.semaphore_id = semaphore AND t.slot < slots
            ORDER BY t.slot LIMIT wanted) AS t)];
    END IF;

    PERFORM dbsemaphore._publish_held_tickets(tickets[cardinality(already) + 1:]);
    IF label IS NOT NULL THEN
        PERFORM dbsemaphore.wear(label);
    END IF;
    RETURN dbsemaphore.remember(semaphore, tickets);
END
$$;

-- What `acquire` does for those who want one ticket and have no label: nearly all. The first free ticket down
-- from a random place is taken. If that finds none, it says nothing: `acquire` has the last word.
--
-- In a transaction that only holds tickets, what it holds is not noted: nobody but its guard could ask it for more.
--
-- Each setting of its own would cost it two hundredths of its time. So what is called and compared here is named in full,
-- lest something else be found through the search path; and as to scans of the whole table, see `by_index`. One setting
-- is worth it: where semaphores differ in size, the planner would believe that a new plan for each call is cheaper.
CREATE FUNCTION dbsemaphore.acquire_one(semaphore_name text, host_timeout integer) RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    semaphore bigint;
    start double precision;
    reach double precision;
    ticket bigint;
    timeline integer;
    next_timeline pg_catalog.text;
    epoch integer;
    granted pg_catalog.text;
BEGIN
    IF host_timeout IS NULL THEN
        IF pg_catalog.current_setting('dbsemaphore.held', true) OPERATOR(pg_catalog.<>) '' THEN
            RETURN dbsemaphore.acquire(semaphore_name, 1, NULL, NULL);
        END IF;
    ELSE
        -- An assignment costs less than PERFORM, which is a query.
        granted := dbsemaphore.keep(host_timeout);
    END IF;

    SELECT s.id, pg_catalog.random(), s.reach, s.timeline, s.next_timeline, s.epoch
    INTO semaphore, start, reach, timeline, next_timeline, epoch
    FROM dbsemaphore.semaphore s
    WHERE dbsemaphore.by_index(s.name) OPERATOR(pg_catalog.=) semaphore_name
      AND s.dense AND NOT dbsemaphore.is_barred(s.id);
    SELECT t.id INTO ticket
    FROM dbsemaphore.ticket t
    WHERE dbsemaphore.by_index(t.semaphore_id) OPERATOR(pg_catalog.=) semaphore
      AND t.place OPERATOR(pg_catalog.<=) start
      AND t.place OPERATOR(pg_catalog.>=) (start OPERATOR(pg_catalog.-) reach)
    ORDER BY t.place DESC
    -- PL/pgSQL takes the first row anyway, but with `plpgsql.extra_errors` or `extra_warnings` it would lock a second one.
    LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED;

    IF ticket IS NULL THEN
        RETURN dbsemaphore.acquire(semaphore_name, 1, NULL, NULL);
    END IF;
    granted := ARRAY[semaphore, dbsemaphore._next_fencing_token(timeline, next_timeline, epoch), ticket]::pg_catalog.text;
    IF host_timeout IS NULL THEN
        granted := pg_catalog.btrim(pg_catalog.set_config('dbsemaphore.held', ' ' OPERATOR(pg_catalog.||) granted, true));
    END IF;
    RETURN dbsemaphore._publish_held_ticket(ticket, granted);
END
$$;
