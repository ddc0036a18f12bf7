-- What shrinks a semaphore. Creating, growing and destroying one are statements of the client.

-- Deletes `remove_count` tickets. Waits for them in the queue, behind earlier waiters, as any waiter does. Of the available
-- tickets those in the highest slots are deleted, and of the held ones those that are released first. No other transaction can
-- acquire those that it has locked so far. Tickets that this transaction holds itself are deleted last, and without waiting:
-- the transaction holds them until it ends. At the caller's lock_timeout, which bounds the whole wait, no ticket is deleted.
--
-- The caller has updated the row of the semaphore before, so that resizes take turns, and sets `slot_bound` after it.
CREATE OR REPLACE FUNCTION dbsemaphore._remove_tickets(semaphore_id bigint, remove_count integer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_variable
DECLARE
    lock_timeout_at timestamptz := clock_timestamp() + nullif(current_setting('lock_timeout')::interval, interval '0');
    -- Without those that an earlier shrink in this transaction has deleted.
    held_ids bigint[] := ARRAY(
        SELECT t.id FROM dbsemaphore.ticket t
        WHERE t.id = ANY ((SELECT h.ticket_ids FROM dbsemaphore._get_own_tickets(semaphore_id) AS h)::bigint[])
        ORDER BY t.id);
    other_count integer := (SELECT count(*) FROM (
        SELECT t.id FROM dbsemaphore.ticket t WHERE t.semaphore_id = semaphore_id ORDER BY t.slot) AS t
        WHERE t.id NOT IN (SELECT unnest(held_ids)));
    removed_ids bigint[] := '{}';
BEGIN
    IF other_count > 0 THEN
        removed_ids := dbsemaphore._wait_in_queue(
            semaphore_id, least(remove_count, other_count), held_ids, NULL, lock_timeout_at, true, false, NULL);
    END IF;
    IF removed_ids IS NULL THEN
        RAISE EXCEPTION 'semaphore % can''t be resized: its tickets were deleted meanwhile; try again', semaphore_id
            USING ERRCODE = 'serialization_failure';
    END IF;
    removed_ids := removed_ids || held_ids[1:remove_count - other_count];
    DELETE FROM dbsemaphore.ticket t WHERE t.id = ANY (removed_ids);
END
$$;
