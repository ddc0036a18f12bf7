DROP FUNCTION dbsemaphore.usage();
DROP FUNCTION dbsemaphore.waiters(text);
DROP FUNCTION dbsemaphore.holders(text);
DROP FUNCTION dbsemaphore.in_line(bigint);
DROP FUNCTION dbsemaphore.held(bigint);
DROP FUNCTION dbsemaphore.is_open(xid);
