DROP TABLE dbsemaphore.ticket;
DROP TABLE dbsemaphore.semaphore;
DROP FUNCTION dbsemaphore.by_index(text);
DROP FUNCTION dbsemaphore.by_index(bigint);
DROP FUNCTION dbsemaphore.scatter(integer);
