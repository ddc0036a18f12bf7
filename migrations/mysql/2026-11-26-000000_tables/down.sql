DROP TABLE IF EXISTS dbsemaphore_request;
DROP TABLE IF EXISTS dbsemaphore_ticket;
DROP TABLE IF EXISTS dbsemaphore_semaphore;
