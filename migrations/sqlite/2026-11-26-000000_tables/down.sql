DROP TABLE dbsemaphore_ticket_range;
DROP TABLE dbsemaphore_semaphore;
