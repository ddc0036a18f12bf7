DROP FUNCTION dbsemaphore.retire(bigint, integer);
DROP FUNCTION dbsemaphore._cancel_wait(bigint);
DROP FUNCTION dbsemaphore.wait(text, integer, integer, text, bigint, bigint);
DROP FUNCTION dbsemaphore.stand_in_line(bigint, integer, bigint[], timestamptz, timestamptz, boolean, bigint);
DROP FUNCTION dbsemaphore.await_one(bigint, integer, bigint[], integer, interval);
DROP FUNCTION dbsemaphore.attend_client();
DROP FUNCTION dbsemaphore.leave();
DROP FUNCTION dbsemaphore.locks();
