DROP FUNCTION dbsemaphore.retire(bigint, integer);
DROP FUNCTION dbsemaphore.acquire(text, integer);
DROP FUNCTION dbsemaphore.lock_free(bigint, integer, integer, bigint[]);
DROP TABLE dbsemaphore.ticket;
DROP TABLE dbsemaphore.semaphore;
