-- Raises an error if the policies of row level security may hide rows of the tables from this role, and returns true otherwise.
-- A policy whose expression is `true` hides nothing. `to_write`: a row that a policy hides from UPDATE or DELETE is hidden,
-- too, if the role has the right to that command.
CREATE OR REPLACE FUNCTION dbsemaphore._check_policies(to_write boolean) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hiding text := (
        SELECT string_agg(format('%s.%s', c.relnamespace::regnamespace, c.relname), ', ')
        FROM pg_class c
        WHERE c.oid IN ('dbsemaphore.semaphore'::regclass, 'dbsemaphore.ticket'::regclass)
          AND row_security_active(c.oid)
          AND EXISTS (
            SELECT FROM (VALUES
                ('r', true),
                ('w', to_write AND has_any_column_privilege(c.oid, 'UPDATE')),
                ('d', to_write AND has_table_privilege(c.oid, 'DELETE'))) AS command (polcmd, is_needed)
            WHERE command.is_needed AND (
                SELECT bool_or(p.polpermissive AND p.shows_all) AND bool_and(p.polpermissive OR p.shows_all)
                FROM (
                    SELECT o.polpermissive, pg_get_expr(o.polqual, o.polrelid) = 'true' AS shows_all FROM pg_policy o
                    WHERE o.polrelid = c.oid AND o.polcmd IN ('*', command.polcmd::"char") AND EXISTS (
                        SELECT FROM unnest(o.polroles) AS r (role)
                        WHERE r.role = 0 OR pg_has_role(r.role, 'USAGE'))) AS p) IS NOT TRUE));
BEGIN
    IF hiding IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('semaphores are not fully visible: row level security may hide rows of %s from the role %s',
                hiding, current_user),
            HINT = 'disable it for the tables of the schema dbsemaphore, or give the role a policy FOR ALL USING (true), or '
                'the attribute BYPASSRLS';
    END IF;
    RETURN true;
END
$$;

-- The same, and quick while row level security is off, as nearly always. A hidden ticket looks like a held one, and a hidden
-- semaphore like none. So each answer that could be wrong for that reason checks this first. `_acquire` comes after
-- `_try_acquire`, and `_remove_tickets` after a check by the client.
CREATE OR REPLACE FUNCTION dbsemaphore._check_row_security(to_write boolean) RETURNS boolean
LANGUAGE sql STABLE
RETURN CASE WHEN pg_catalog.row_security_active('dbsemaphore.semaphore'::regclass)
              OR pg_catalog.row_security_active('dbsemaphore.ticket'::regclass)
            THEN dbsemaphore._check_policies(to_write) ELSE true END;
