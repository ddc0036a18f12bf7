-- What a transaction holds: for itself in a setting, for others in advisory locks.

-- The setting `dbsemaphore.held_tickets` has ' {semaphore_id,token,ticket_id,ticket_id}' for each semaphore. A setting made
-- with SET LOCAL follows transactions and savepoints as row locks do. Tickets that this transaction deleted remain in it. A
-- guard may not set it: nobody else can acquire in its transaction.
CREATE OR REPLACE FUNCTION dbsemaphore._get_own_tickets(semaphore_id bigint, OUT ticket_ids bigint[], OUT token bigint)
LANGUAGE plpgsql AS $$
DECLARE
    recorded bigint[] := (regexp_match(
        current_setting('dbsemaphore.held_tickets', true), ' ([{]' || semaphore_id || ',[0-9,]+[}])'))[1];
BEGIN
    ticket_ids := coalesce(recorded[3:], '{}');
    token := recorded[2];
END
$$;

-- Records that these are the tickets of the semaphore that the transaction holds, and returns their fencing token.
CREATE OR REPLACE FUNCTION dbsemaphore._record_own_tickets(semaphore_id bigint, ticket_ids bigint[]) RETURNS bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    token bigint := (
        SELECT dbsemaphore._next_fencing_token(s.timeline, s.next_timeline, s.epoch)
        FROM dbsemaphore.semaphore s WHERE s.id = semaphore_id);
BEGIN
    PERFORM set_config('dbsemaphore.held_tickets', concat(
        regexp_replace(current_setting('dbsemaphore.held_tickets', true), ' [{]' || semaphore_id || ',[0-9,]+[}]', ''),
        ' ', ARRAY[semaphore_id, token] || ticket_ids), true);
    RETURN token;
END
$$;

-- The key of the advisory lock by which a transaction shows that it holds a ticket, and since when. The transaction has that
-- lock for exactly as long as the row lock, also if a savepoint has locked the row, a foreign key has added a locker to it, or
-- the transaction was prepared. From the top: 8 bits of a constant, 26 of the ticket's id, 30 of the time in 1/32 s. So two
-- tickets whose ids differ by a multiple of 67,108,864 are both shown as held while one of them is.
CREATE OR REPLACE FUNCTION dbsemaphore._holder_key(ticket_id bigint) RETURNS bigint
LANGUAGE sql
RETURN x'db00000000000000'::bigint | ((ticket_id & 67108863) << 30)
    | ((date_part('epoch', clock_timestamp()) * 32)::bigint & 1073741823);

-- Takes that lock for the first 64 of the tickets of one call. Each lock takes a place in PostgreSQL's lock table. The other
-- tickets are known by their locker, which is that of the first 64: see `_all_held_tickets`.
CREATE OR REPLACE FUNCTION dbsemaphore._publish_held_tickets(ticket_ids bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(dbsemaphore._holder_key(t.id)) FROM unnest(ticket_ids[:64]) AS t (id);
END
$$;
