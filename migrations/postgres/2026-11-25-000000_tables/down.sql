DROP TABLE dbsemaphore.function_version;
DROP TABLE dbsemaphore.ticket;
DROP TABLE dbsemaphore.semaphore;
