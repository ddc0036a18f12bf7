-- Raises an error if the policies of row level security may hide rows of the tables from this role, and returns true otherwise.
-- A policy whose expression is `true` hides nothing. `to_lock`: where the role has the right to UPDATE, it also needs such a
-- policy for that.
CREATE OR REPLACE FUNCTION dbsemaphore._check_policies(to_lock boolean) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    hiding text := (
        SELECT string_agg(format('%s.%s', c.relnamespace::regnamespace, c.relname), ', ')
        FROM pg_class c, LATERAL (
            SELECT bool_and(p.polpermissive OR p.shows_all)
                AND bool_or(p.polpermissive AND p.shows_all AND p.polcmd IN ('*', 'r'))
                AND (NOT (to_lock AND has_any_column_privilege(c.oid, 'UPDATE'))
                    OR bool_or(p.polpermissive AND p.shows_all AND p.polcmd IN ('*', 'w')))
            FROM (SELECT p.polpermissive, p.polcmd, pg_get_expr(p.polqual, p.polrelid) = 'true' AS shows_all
                  FROM pg_policy p
                  WHERE p.polrelid = c.oid AND p.polcmd IN ('*', 'r', 'w') AND EXISTS (
                      SELECT FROM unnest(p.polroles) AS r (role)
                      WHERE r.role = 0 OR pg_has_role(r.role, 'USAGE'))) AS p) AS policies (show_all)
        WHERE c.oid IN ('dbsemaphore.semaphore'::regclass, 'dbsemaphore.ticket'::regclass)
          AND row_security_active(c.oid) AND policies.show_all IS NOT TRUE);
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
-- semaphore like none. So each answer that could be wrong for that reason checks this first; `_acquire` comes after
-- `_try_acquire`, which has done so.
CREATE OR REPLACE FUNCTION dbsemaphore._check_row_security(to_lock boolean) RETURNS boolean
LANGUAGE sql STABLE
RETURN CASE WHEN pg_catalog.row_security_active('dbsemaphore.semaphore'::regclass)
              OR pg_catalog.row_security_active('dbsemaphore.ticket'::regclass)
            THEN dbsemaphore._check_policies(to_lock) ELSE true END;
