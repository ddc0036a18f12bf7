-- A crash makes fencing tokens decrease.
CREATE SEQUENCE dbsemaphore.tokens;
CREATE OR REPLACE FUNCTION dbsemaphore._next_fencing_token(timeline integer, next_timeline text, epoch integer)
RETURNS bigint
LANGUAGE sql
RETURN nextval('dbsemaphore.tokens');
