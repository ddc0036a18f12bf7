-- A host that vanishes keeps its tickets.
CREATE OR REPLACE FUNCTION dbsemaphore._apply_guard_settings(host_timeout_s integer) RETURNS text
LANGUAGE sql
RETURN concat(
    set_config('idle_in_transaction_session_timeout', '0', true),
    set_config('statement_timeout', '0', true),
    -- Since PostgreSQL 17.
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', true) END);
