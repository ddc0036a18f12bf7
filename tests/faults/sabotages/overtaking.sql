-- Somebody who does not wait acquires the ticket that the head of the queue waits for.
CREATE OR REPLACE FUNCTION dbsemaphore._has_blocked_waiter(semaphore_id bigint) RETURNS boolean
LANGUAGE sql
RETURN false;
