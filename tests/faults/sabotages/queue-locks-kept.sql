-- A waiter whose wait fails stays at the head of the queue.
CREATE OR REPLACE FUNCTION dbsemaphore._release_queue_locks() RETURNS boolean
LANGUAGE sql
RETURN false;
