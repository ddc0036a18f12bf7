DROP FUNCTION dbsemaphore.retire(bigint, integer);
DROP FUNCTION dbsemaphore.wait(text, integer, integer, boolean, text, bigint);
DROP FUNCTION dbsemaphore.stand_in_line(bigint, integer, bigint[], timestamptz, timestamptz, boolean);
DROP FUNCTION dbsemaphore.await_one(bigint, integer, bigint[], integer, interval);
DROP FUNCTION dbsemaphore.attend_client();
DROP FUNCTION dbsemaphore.leave();
DROP FUNCTION dbsemaphore.locks();
