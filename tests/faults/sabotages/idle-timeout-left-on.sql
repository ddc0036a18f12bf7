-- The server ends a guard whose holder works for longer than this timeout.
CREATE OR REPLACE FUNCTION dbsemaphore._apply_guard_settings(host_timeout_s integer) RETURNS text
LANGUAGE sql
RETURN concat(
    set_config('statement_timeout', '0', true),
    -- Since PostgreSQL 17.
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', true) END,
    CASE WHEN inet_client_addr() IS NOT NULL THEN concat(
        set_config('tcp_keepalives_idle', greatest(1, host_timeout_s / 3)::text, true),
        set_config('tcp_keepalives_interval', greatest(1, host_timeout_s / 6)::text, true),
        set_config('tcp_keepalives_count', '4', true),
        set_config('tcp_user_timeout', (host_timeout_s * 1000)::text, true)) END);
