DROP FUNCTION dbsemaphore.acquire(text, integer, integer);
DROP FUNCTION dbsemaphore.barrier(bigint);
DROP FUNCTION dbsemaphore.turnstile(bigint);
DROP FUNCTION dbsemaphore.keep(integer);
DROP FUNCTION dbsemaphore.remember(bigint, bigint[]);
DROP FUNCTION dbsemaphore.recall(bigint);
DROP FUNCTION dbsemaphore.fencing_token();
DROP FUNCTION dbsemaphore.lock_free(bigint, integer, boolean, integer, bigint[], boolean);
