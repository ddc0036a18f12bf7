DROP TABLE dbsemaphore.ticket;
DROP TABLE dbsemaphore.semaphore;
