//! Questions about the server and its catalog, and its settings.

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
    /// An xid8, which is sent as a bigint is.
    #[sql_name = "pg_catalog.pg_current_xact_id_if_assigned"]
    fn pg_current_xact_id_if_assigned() -> Nullable<BigInt>;
    #[sql_name = "pg_catalog.pg_is_in_recovery"]
    fn pg_is_in_recovery() -> Bool;
    /// Returns any number of rows.
    #[sql_name = "dbsemaphore._moved_semaphores"]
    fn moved_semaphores_function() -> BigInt;
    /// Returns void; to be executed without reading what it returns.
    #[sql_name = "dbsemaphore._record_move"]
    fn record_move_function(semaphores: Array<BigInt>) -> Bool;
    /// Returns void; to be executed without reading what it returns.
    #[sql_name = "pg_catalog.pg_advisory_xact_lock"]
    fn pg_advisory_xact_lock(key: BigInt) -> Bool;
}

pub(crate) fn is_standby(conn: &mut PgConnection) -> QueryResult<bool> {
    diesel::select(pg_is_in_recovery()).get_result(conn)
}

/// Whether the tables are there. Asks the catalog, which everybody may read.
pub(crate) fn is_migrated(conn: &mut PgConnection) -> QueryResult<bool> {
    has_table(conn, "semaphore")
}

pub(crate) fn has_table(conn: &mut PgConnection, name: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::sql::<Bool>(
        "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'dbsemaphore' AND c.relname = ",
    )
    .bind::<Text, _>(name)
    .sql(")"))
    .get_result(conn)
}

/// Which of these privileges on tables in our schema this role lacks, and whether it lacks what comes before them. A
/// table that is not there is not looked at. For UPDATE, one column is enough.
pub(crate) fn missing_privileges(
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

/// The semaphores that have come to another cluster, or whose cluster is on another timeline, since that was last noted.
pub(crate) fn moved_semaphores(conn: &mut PgConnection) -> QueryResult<Vec<i64>> {
    diesel::select(moved_semaphores_function()).load(conn)
}

/// Notes where these semaphores are now, unless somebody else has just done so.
pub(crate) fn record_move(conn: &mut PgConnection, semaphores: &[i64]) -> QueryResult<()> {
    diesel::select(record_move_function(semaphores))
        .execute(conn)
        .map(drop)
}

/// Whether this role may do that.
pub(crate) fn may_record_move(conn: &mut PgConnection) -> QueryResult<bool> {
    diesel::select(diesel::dsl::sql::<Bool>(
        "pg_catalog.has_table_privilege('dbsemaphore.semaphore', 'UPDATE')",
    ))
    .get_result(conn)
}

/// Who owns the schema.
#[derive(QueryableByName)]
pub(crate) struct SchemaOwner {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    /// A superuser, we ourselves, or a role that we are a member of. Superusers are members of all.
    #[diesel(sql_type = Bool)]
    pub(crate) is_trusted: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) we_are_superuser: bool,
}

/// None if there is no schema.
pub(crate) fn schema_owner(conn: &mut PgConnection) -> QueryResult<Option<SchemaOwner>> {
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

/// Whether rows of a table in our schema may be hidden from this role.
pub(crate) fn is_filtered(conn: &mut PgConnection, table: &str) -> QueryResult<bool> {
    diesel::select(
        diesel::dsl::sql::<Bool>(
            "coalesce(pg_catalog.row_security_active(pg_catalog.to_regclass('dbsemaphore.' || ",
        )
        .bind::<Text, _>(table)
        .sql(")), false)"),
    )
    .get_result(conn)
}

/// Which functions are installed.
#[derive(Queryable)]
pub(crate) struct FunctionVersion {
    pub(crate) version: i32,
    pub(crate) checksum: String,
}

pub(crate) fn function_version(conn: &mut PgConnection) -> QueryResult<Option<FunctionVersion>> {
    function_version::table
        .select((function_version::version, function_version::checksum))
        .first(conn)
        .optional()
}

/// The functions in our schema that have one of these names, as DROP FUNCTION wants them.
pub(crate) fn function_signatures(
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

/// An event trigger, and the function that it calls.
#[derive(QueryableByName)]
pub(crate) struct EventTrigger {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    /// As ALTER FUNCTION wants it.
    #[diesel(sql_type = Text)]
    pub(crate) function: String,
}

/// The enabled event triggers whose functions look up names in the search path of the session.
pub(crate) fn event_triggers_without_path(
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

/// Until the transaction ends.
pub(crate) fn advisory_lock(conn: &mut PgConnection, key: i64) -> QueryResult<()> {
    diesel::select(pg_advisory_xact_lock(key))
        .execute(conn)
        .map(drop)
}

/// Sets the search path until the transaction ends, and returns what it was.
pub(crate) fn swap_search_path(conn: &mut PgConnection, path: &str) -> QueryResult<String> {
    let before: Option<String> =
        diesel::select(current_setting("search_path", true)).get_result(conn)?;
    diesel::select(set_config("search_path", path, true)).get_result::<String>(conn)?;
    Ok(before.unwrap_or_default())
}
