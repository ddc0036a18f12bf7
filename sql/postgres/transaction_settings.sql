-- Settings that the transaction of a holder or waiter has until it ends.

-- Switches off the timeouts that would end the transaction of a guard while its holder works, and bounds after how many
-- seconds the tickets of a vanished host are released. TCP probes the host after a third of that time; four unanswered
-- probes take the rest. A Unix socket has no host to probe. Windows has no TCP user timeout: there the probes decide.
--
-- A timeout that is 0 is set, too, so that a changed configuration can't switch it on for this transaction. lock_timeout is
-- left alone: see `_apply_guard_wait_settings`.
CREATE OR REPLACE FUNCTION dbsemaphore._apply_guard_settings(host_timeout_s integer) RETURNS text
LANGUAGE sql
RETURN concat(
    set_config('idle_in_transaction_session_timeout', '0', true),
    set_config('statement_timeout', '0', true),
    -- Since PostgreSQL 17.
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', true) END,
    CASE WHEN inet_client_addr() IS NOT NULL THEN concat(
        set_config('tcp_keepalives_idle', greatest(1, host_timeout_s / 3)::text, true),
        set_config('tcp_keepalives_interval', greatest(1, host_timeout_s / 6)::text, true),
        set_config('tcp_keepalives_count', '4', true),
        set_config('tcp_user_timeout', (host_timeout_s * 1000)::text, true)) END);

-- Makes the server check each second whether the client of a waiter is connected, so that a dead client leaves the queue. In
-- force from the next statement on. Servers on some systems can't check, and refuse the setting.
--
-- With log_lock_waits, each check makes PostgreSQL log the wait once more. So with log_lock_waits the server checks only as
-- often as its own setting says, or each minute.
CREATE OR REPLACE FUNCTION dbsemaphore._enable_client_check() RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN set_config('client_connection_check_interval', CASE WHEN current_setting('log_lock_waits') = 'off' THEN '1s'
        ELSE coalesce(nullif(current_setting('client_connection_check_interval'), '0'), '60s') END, true);
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN '';
END
$$;

-- What the transaction of a guard needs for a wait, which is the next statement. A guard that does not wait in the queue waits
-- for no row lock and no advisory lock.
CREATE OR REPLACE FUNCTION dbsemaphore._apply_guard_wait_settings() RETURNS text
LANGUAGE sql
RETURN concat(set_config('lock_timeout', '0', true), dbsemaphore._enable_client_check());

-- The application name is what every role may see of a transaction. So the label is appended to it. PostgreSQL cuts the whole
-- at 63 bytes, and a label has up to 40, all of them ASCII.
CREATE OR REPLACE FUNCTION dbsemaphore._set_label(label text) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own_name text := (
        SELECT p.application_name FROM dbsemaphore._parse_application_name(current_setting('application_name')) AS p);
BEGIN
    RETURN set_config('application_name', concat_ws(' ',
        nullif(left(own_name, 52 - length(label)), ''), concat('[ticket: ', label, ']')), true);
END
$$;

-- The parts that `_set_label` has joined.
CREATE OR REPLACE FUNCTION dbsemaphore._parse_application_name(joined text, OUT application_name text, OUT label text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT nullif(regexp_replace(joined, ' ?[[]ticket: .*[]]$', ''), ''),
        (regexp_match(joined, '[[]ticket: (.*)[]]$'))[1]
$$;
