//! The statements on the server's state, catalog and settings.

use crate::schema::dbsemaphore::function_version;
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Text},
};

#[diesel::declare_sql_function]
extern "SQL" {
    #[sql_name = "pg_catalog.current_setting"]
    fn current_setting(name: Text, missing_ok: Bool) -> Nullable<Text>;
    #[sql_name = "pg_catalog.set_config"]
    fn set_config(name: Text, value: Text, is_local: Bool) -> Text;
    /// Returns an xid8, which is sent as a bigint.
    #[sql_name = "pg_catalog.pg_current_xact_id_if_assigned"]
    fn pg_current_xact_id_if_assigned() -> Nullable<BigInt>;
    #[sql_name = "pg_catalog.pg_is_in_recovery"]
    fn pg_is_in_recovery() -> Bool;
    /// Returns any number of rows.
    #[sql_name = "dbsemaphore._moved_semaphores"]
    fn moved_semaphores_function() -> BigInt;
    /// Returns void. Do not read the result.
    #[sql_name = "dbsemaphore._record_move"]
    fn record_move_function(semaphores: Array<BigInt>) -> Bool;
    /// Returns void. Do not read the result.
    #[sql_name = "pg_catalog.pg_advisory_xact_lock"]
    fn pg_advisory_xact_lock(key: BigInt) -> Bool;
}

pub(super) fn is_standby(conn: &mut PgConnection) -> QueryResult<bool> {
    diesel::select(pg_is_in_recovery()).get_result(conn)
}

/// Returns whether the tables exist, by the catalog, which each role may read.
pub(super) fn is_migrated(conn: &mut PgConnection) -> QueryResult<bool> {
    has_table(conn, "semaphore")
}

pub(super) fn has_table(conn: &mut PgConnection, name: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::sql::<Bool>(
        "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'dbsemaphore' AND c.relname = ",
    )
    .bind::<Text, _>(name)
    .sql(")"))
    .get_result(conn)
}

/// Returns those of these privileges on tables of our schema that this role lacks, and the missing privileges on schema
/// and database. Ignores tables that do not exist. For UPDATE, one column is enough.
pub(super) fn missing_privileges(
    conn: &mut PgConnection,
    wanted: &[(&str, &str)],
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Missing {
        #[diesel(sql_type = Text)]
        missing: String,
    }
    let (tables, privileges): (Vec<&str>, Vec<&str>) = wanted.iter().copied().unzip();
    let missing: Vec<Missing> = diesel::sql_query(
        "SELECT 'CREATE on the database' AS missing \
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'dbsemaphore') \
           AND NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') \
         UNION ALL \
         SELECT 'USAGE on schema dbsemaphore' FROM pg_catalog.pg_namespace n \
         WHERE n.nspname = 'dbsemaphore' AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
         UNION ALL \
         SELECT pg_catalog.concat(w.privilege, CASE WHEN c.relname = 'ticket' AND w.privilege = 'UPDATE' THEN ' (acquire_privilege)' END, \
             ' on dbsemaphore.', c.relname) \
         FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS w (relname, privilege) \
             JOIN pg_catalog.pg_namespace n ON n.nspname = 'dbsemaphore' \
             JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.relname \
         WHERE NOT CASE w.privilege WHEN 'UPDATE' THEN pg_catalog.has_any_column_privilege(c.oid, w.privilege) \
             ELSE pg_catalog.has_table_privilege(c.oid, w.privilege) END",
    )
    .bind::<Array<Text>, _>(tables)
    .bind::<Array<Text>, _>(privileges)
    .load(conn)?;
    Ok(missing.into_iter().map(|row| row.missing).collect())
}

/// Returns the semaphores that were last recorded in another cluster, or on another timeline.
pub(super) fn moved_semaphores(conn: &mut PgConnection) -> QueryResult<Vec<i64>> {
    diesel::select(moved_semaphores_function()).load(conn)
}

/// Records the cluster and timeline of these semaphores, unless another session has just done so.
pub(super) fn record_move(conn: &mut PgConnection, semaphores: &[i64]) -> QueryResult<()> {
    diesel::select(record_move_function(semaphores))
        .execute(conn)
        .map(drop)
}

/// Returns whether this role has the right to record a move.
pub(super) fn may_record_move(conn: &mut PgConnection) -> QueryResult<bool> {
    diesel::select(diesel::dsl::sql::<Bool>(
        "pg_catalog.has_table_privilege('dbsemaphore.semaphore', 'UPDATE')",
    ))
    .get_result(conn)
}

/// The owner of the schema.
#[derive(QueryableByName)]
pub(super) struct SchemaOwner {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    /// The owner is a superuser, or this role. Or this role is no superuser, and a member of the owner.
    #[diesel(sql_type = Bool)]
    pub(super) is_trusted: bool,
    #[diesel(sql_type = Bool)]
    pub(super) we_are_superuser: bool,
}

/// Returns `None` if the schema does not exist.
pub(super) fn schema_owner(conn: &mut PgConnection) -> QueryResult<Option<SchemaOwner>> {
    diesel::sql_query(
        "SELECT o.rolname::text AS name, m.rolsuper AS we_are_superuser, \
             o.rolsuper OR o.oid = m.oid OR (NOT m.rolsuper AND pg_catalog.pg_has_role(m.oid, o.oid, 'USAGE')) \
                 AS is_trusted \
         FROM pg_catalog.pg_namespace n \
             JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner \
             JOIN pg_catalog.pg_roles m ON m.rolname = current_user \
         WHERE n.nspname = 'dbsemaphore'",
    )
    .get_result(conn)
    .optional()
}

/// Returns whether row level security may hide rows of a table of our schema from this role.
pub(super) fn is_filtered(conn: &mut PgConnection, table: &str) -> QueryResult<bool> {
    diesel::select(
        diesel::dsl::sql::<Bool>(
            "coalesce(pg_catalog.row_security_active(pg_catalog.to_regclass('dbsemaphore.' || ",
        )
        .bind::<Text, _>(table)
        .sql(")), false)"),
    )
    .get_result(conn)
}

/// The version of the installed functions.
#[derive(Queryable)]
pub(super) struct FunctionVersion {
    pub(super) version: i32,
    pub(super) checksum: String,
}

pub(super) fn function_version(conn: &mut PgConnection) -> QueryResult<Option<FunctionVersion>> {
    function_version::table
        .select((function_version::version, function_version::checksum))
        .first(conn)
        .optional()
}

/// Returns the signatures of the functions of our schema with these names, for DROP FUNCTION.
pub(super) fn function_signatures(
    conn: &mut PgConnection,
    names: &[&str],
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Function {
        #[diesel(sql_type = Text)]
        signature: String,
    }
    let functions: Vec<Function> = diesel::sql_query(
        "SELECT pg_catalog.format('dbsemaphore.%I(%s)', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) \
             AS signature \
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname = 'dbsemaphore' AND p.proname = ANY ($1)",
    )
    .bind::<Array<Text>, _>(names)
    .load(conn)?;
    Ok(functions
        .into_iter()
        .map(|function| function.signature)
        .collect())
}

/// An event trigger, and its function.
#[derive(QueryableByName)]
pub(super) struct EventTrigger {
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    /// For ALTER FUNCTION.
    #[diesel(sql_type = Text)]
    pub(super) function: String,
}

/// Returns the enabled event triggers whose functions use the search path of the session.
pub(super) fn event_triggers_without_path(
    conn: &mut PgConnection,
) -> QueryResult<Vec<EventTrigger>> {
    diesel::sql_query(
        "SELECT t.evtname::text AS name, \
             pg_catalog.format('%I.%I()', n.nspname, p.proname) AS function \
         FROM pg_catalog.pg_event_trigger t \
             JOIN pg_catalog.pg_proc p ON p.oid = t.evtfoid \
             JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
         WHERE t.evtenabled <> 'D' AND t.evtevent <> 'login' AND l.lanname <> 'c' \
           AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) AS c (setting) \
                           WHERE pg_catalog.starts_with(c.setting, 'search_path=')) \
         ORDER BY t.evtname",
    )
    .load(conn)
}

/// Takes an advisory lock until the transaction ends.
pub(super) fn advisory_lock(conn: &mut PgConnection, key: i64) -> QueryResult<()> {
    diesel::select(pg_advisory_xact_lock(key))
        .execute(conn)
        .map(drop)
}

/// Sets the search path until the transaction ends, and returns the former one.
pub(super) fn swap_search_path(conn: &mut PgConnection, path: &str) -> QueryResult<String> {
    let before: Option<String> =
        diesel::select(current_setting("search_path", true)).get_result(conn)?;
    diesel::select(set_config("search_path", path, true)).get_result::<String>(conn)?;
    Ok(before.unwrap_or_default())
}
