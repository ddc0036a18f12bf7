-- Finding available tickets. FOR NO KEY UPDATE is the weakest row lock that excludes itself: a foreign key of the application
-- that refers to a ticket neither waits for its holder nor makes the ticket unavailable. SKIP LOCKED tries held tickets one by
-- one, so where a search starts decides what it costs.
--
-- PostgreSQL may use a plan after the table has grown. A plan that was made for three tickets would scan the whole table when
-- there are a hundred thousand. So the functions that call these switch off sequential scans, bitmap scans and sorts: what
-- remains is the index of the order that a query asks for. A query for one slot asks for a range of one, in order, because
-- for an equal slot the planner would ignore the order. `jit` is off, too: what the planner has to use although it is off
-- costs so much that PostgreSQL would compile the query.
--
-- Tickets are excluded by NOT IN (SELECT ..), which PostgreSQL looks up in a hash table. It would compare each ticket with each
-- element of an array.
--
-- None of these functions sets search_path: their callers do.

-- Whether this transaction may see an older state than others do. PostgreSQL treats READ UNCOMMITTED as READ COMMITTED.
CREATE OR REPLACE FUNCTION dbsemaphore._has_old_snapshot() RETURNS boolean
LANGUAGE sql STABLE
RETURN current_setting('transaction_isolation') IN ('repeatable read', 'serializable');

-- Whether a foreign key refers to tickets, beside our own. Then `xmax` may be the number of a group of lockers (a multixact), or
-- that of a transaction which has a weaker lock and no ticket.
CREATE OR REPLACE FUNCTION dbsemaphore._has_foreign_keys() RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM pg_trigger t
        WHERE t.tgrelid = 'dbsemaphore.ticket'::regclass
          AND t.tgconstrrelid NOT IN (0, 'dbsemaphore.semaphore'::regclass));
END
$$;

-- The slots whose tickets may be available, from `first_slot` on and wrapped around, according to the lockers (`xmax`) that were
-- just read. The other tickets were held when this function began: a locker was running if the snapshot lists it, or if its
-- number is not below the snapshot's xmax. A row lock changes `xmax` in place, so even an old snapshot reads the last locker.
-- The snapshot has to be newer than that: the function is VOLATILE, and so has one of its own under READ COMMITTED.
--
-- A ticket may be available, too,
--   if the snapshot is older than what was read, as in REPEATABLE READ;
--   if its locker may be an old sub-transaction, or a group of lockers (a multixact);
--   if a foreign key of the application refers to tickets: then a lock may be a weaker one, which holds no ticket.
CREATE OR REPLACE FUNCTION dbsemaphore._get_candidate_slots(slots integer[], lockers xid[], first_slot integer)
RETURNS integer[]
LANGUAGE plpgsql AS $$
DECLARE
    snapshot pg_snapshot := pg_current_snapshot();
    newest_age integer := age(pg_snapshot_xmax(snapshot)::xid);
    lockers_are_holders boolean :=
        NOT dbsemaphore._has_old_snapshot() AND NOT dbsemaphore._has_foreign_keys();
BEGIN
    RETURN ARRAY(
        SELECT t.slot FROM (SELECT unnest(slots) AS slot, unnest(lockers) AS locker) AS t
        -- As a multixact, only a number that none has had yet is of no positive age: then it is a transaction's. age() counts
        -- from the same number throughout a transaction, so a smaller age is a later transaction.
        WHERE NOT (lockers_are_holders AND mxid_age(t.locker) <= 0 AND (
            age(t.locker) <= newest_age
            OR t.locker IN (SELECT r.xid8::xid FROM pg_snapshot_xip(snapshot) AS r (xid8))))
        ORDER BY t.slot < first_slot, t.slot);
END
$$;

-- Locks up to `requested` available tickets and returns their ids. Tickets in `excluded_ids` don't count.
--
-- Up to 10,000 slots: reads who has locked each ticket, which costs a fraction of an attempt to lock it, and tries those that
-- may be available. Meanwhile another transaction may acquire them, and release others. So fewer than `requested` are
-- returned only if all others were held at one instant, or if holders changed in each of `max_rounds` rounds. They were held
-- at one instant, that of the round's snapshot, if none may be available, or if each has the same locker one round later: then
-- a ticket that was tried was held from before the snapshot until it was tried.
--
-- More slots: tries 1,024 random slots, then all of them in order. Fewer than `requested` are returned if each of the others was
-- held when it was tried.
CREATE OR REPLACE FUNCTION dbsemaphore._lock_available_tickets(
    semaphore_id bigint, slot_bound integer, requested integer, excluded_ids bigint[], max_rounds integer)
RETURNS bigint[]
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    first_slot integer := floor(random() * slot_bound);
    locked_ids bigint[] := '{}';
    all_slots integer[];
    candidate_slots integer[];
    previous_lockers xid[];
    current_lockers xid[];
BEGIN
    IF slot_bound <= 10000 THEN
        FOR round IN 1..max_rounds LOOP
            SELECT array_agg(t.slot), array_agg(t.xmax) INTO all_slots, current_lockers
            FROM (SELECT o.slot, o.xmax FROM dbsemaphore.ticket o
                  WHERE o.semaphore_id = semaphore_id AND o.slot < slot_bound ORDER BY o.slot) AS t;
            EXIT WHEN current_lockers = previous_lockers;
            previous_lockers := current_lockers;
            candidate_slots := dbsemaphore._get_candidate_slots(all_slots, current_lockers, first_slot);
            EXIT WHEN candidate_slots = '{}';
            locked_ids := locked_ids || ARRAY(
                SELECT t.id
                FROM unnest(candidate_slots) AS c (slot),
                    LATERAL (
                        SELECT t.id FROM dbsemaphore.ticket t
                        WHERE t.semaphore_id = semaphore_id AND t.slot BETWEEN c.slot AND c.slot
                          AND t.id NOT IN (SELECT unnest(excluded_ids || locked_ids))
                        ORDER BY t.slot LIMIT 1
                        FOR NO KEY UPDATE SKIP LOCKED) AS t
                LIMIT requested - cardinality(locked_ids));
            EXIT WHEN cardinality(locked_ids) = requested;
        END LOOP;
        RETURN locked_ids;
    END IF;

    -- A slot that comes up twice gives its ticket twice: SKIP LOCKED does not skip the transaction's own locks.
    locked_ids := ARRAY(
        SELECT DISTINCT l.id FROM (
            SELECT t.id
            FROM (SELECT floor(random() * slot_bound)::integer AS slot FROM generate_series(1, 1024)) AS r,
                LATERAL (
                    SELECT t.id FROM dbsemaphore.ticket t
                    WHERE t.semaphore_id = semaphore_id AND t.slot BETWEEN r.slot AND r.slot
                      AND t.id NOT IN (SELECT unnest(excluded_ids))
                    ORDER BY t.slot LIMIT 1
                    FOR NO KEY UPDATE SKIP LOCKED) AS t
            LIMIT requested) AS l);
    IF cardinality(locked_ids) < requested THEN
        locked_ids := locked_ids || ARRAY(
            SELECT t.id FROM dbsemaphore.ticket t
            WHERE t.semaphore_id = semaphore_id AND t.slot >= first_slot AND t.slot < slot_bound
              AND t.id NOT IN (SELECT unnest(excluded_ids || locked_ids))
            ORDER BY t.slot
            LIMIT requested - cardinality(locked_ids)
            FOR NO KEY UPDATE SKIP LOCKED);
    END IF;
    IF cardinality(locked_ids) < requested THEN
        locked_ids := locked_ids || ARRAY(
            SELECT t.id FROM dbsemaphore.ticket t
            WHERE t.semaphore_id = semaphore_id AND t.slot < first_slot
              AND t.id NOT IN (SELECT unnest(excluded_ids || locked_ids))
            ORDER BY t.slot
            LIMIT requested - cardinality(locked_ids)
            FOR NO KEY UPDATE SKIP LOCKED);
    END IF;
    RETURN locked_ids;
END
$$;

-- Locks `requested` available tickets, or none: then returns an empty array.
CREATE OR REPLACE FUNCTION dbsemaphore._lock_all_or_none(
    semaphore_id bigint, slot_bound integer, requested integer, excluded_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    locked_ids bigint[];
BEGIN
    IF requested = 1 THEN
        RETURN dbsemaphore._lock_available_tickets(semaphore_id, slot_bound, 1, excluded_ids, 10);
    END IF;
    -- The only way to unlock rows before the transaction ends is to roll back to a savepoint, as this block does. DBS00 is the
    -- code of an error that only these functions raise and catch.
    BEGIN
        locked_ids := dbsemaphore._lock_available_tickets(semaphore_id, slot_bound, requested, excluded_ids, 10);
        IF cardinality(locked_ids) < requested THEN
            RAISE EXCEPTION USING ERRCODE = 'DBS00';
        END IF;
        RETURN locked_ids;
    EXCEPTION WHEN SQLSTATE 'DBS00' THEN
        RETURN '{}';
    END;
END
$$;
