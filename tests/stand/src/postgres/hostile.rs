//! Settings that change how SQL is read, planned and run. `make test-hostile` runs the whole suite under them.

use std::{env, path::Path, process::Command};

/// On each supported version.
const ALWAYS: &[&str] = &[
    // How SQL is read.
    "standard_conforming_strings=off",
    "backslash_quote=off",
    "quote_all_identifiers=on",
    "transform_null_equals=on",
    "array_nulls=off",
    "search_path=public,pg_catalog",
    "xmloption=document",
    "DateStyle=SQL,DMY",
    "IntervalStyle=sql_standard",
    "TimeZone=Asia/Kathmandu",
    // How values are written.
    "bytea_output=escape",
    "extra_float_digits=-15",
    // PL/pgSQL.
    "plpgsql.extra_errors=all",
    "plpgsql.extra_warnings=all",
    "plpgsql.print_strict_params=on",
    "plpgsql.variable_conflict=use_column",
    // What is planned.
    "plan_cache_mode=force_custom_plan",
    "enable_indexscan=off",
    "enable_indexonlyscan=off",
    "enable_bitmapscan=off",
    "enable_nestloop=off",
    "enable_hashjoin=off",
    "enable_hashagg=off",
    "enable_material=off",
    "enable_memoize=off",
    "from_collapse_limit=1",
    "join_collapse_limit=1",
    "geqo_threshold=2",
    "cursor_tuple_fraction=1",
    "work_mem=64kB",
    "parallel_setup_cost=0",
    "parallel_tuple_cost=0",
    "min_parallel_table_scan_size=0",
    "min_parallel_index_scan_size=0",
    "parallel_leader_participation=off",
    "jit=on",
    "jit_above_cost=0",
    // These take seconds for each query.
    "jit_inline_above_cost=-1",
    "jit_optimize_above_cost=-1",
    // Transactions and sessions.
    "default_transaction_deferrable=on",
    "row_security=off",
    "lock_timeout=5min",
    "statement_timeout=5min",
    // Not idle_in_transaction_session_timeout: a test sets it in the configuration, which these override.
    "idle_session_timeout=10min",
    "client_min_messages=debug1",
    "log_lock_waits=on",
    "track_functions=all",
];

/// From this version on.
const SINCE: &[(u32, &str)] = &[
    (16, "debug_parallel_query=on"),
    (17, "transaction_timeout=10min"),
];

/// Up to this version.
const UNTIL: &[(u32, &str)] = &[(15, "force_parallel_mode=on")];

/// Those of `DBSEMAPHORE_TEST_SETTINGS`: none, or `hostile` for all that these programs' version knows.
pub(crate) fn settings(programs: &Path) -> Vec<&'static str> {
    match env::var("DBSEMAPHORE_TEST_SETTINGS").as_deref() {
        Err(_) | Ok("") => Vec::new(),
        Ok("hostile") => of_version(version(programs)),
        Ok(other) => {
            panic!("DBSEMAPHORE_TEST_SETTINGS is {other:?}: set it to hostile, or unset it")
        }
    }
}

fn of_version(version: u32) -> Vec<&'static str> {
    let since = SINCE.iter().filter(|(first, _)| version >= *first);
    let until = UNTIL.iter().filter(|(last, _)| version <= *last);
    let some = since.chain(until).map(|(_, setting)| *setting);
    ALWAYS.iter().copied().chain(some).collect()
}

/// The major version: `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version(programs: &Path) -> u32 {
    let answer = Command::new(programs.join("postgres"))
        .arg("--version")
        .output()
        .expect("the version of postgres");
    String::from_utf8_lossy(&answer.stdout)
        .split(|c: char| !c.is_ascii_digit())
        .find_map(|digits| digits.parse().ok())
        .expect("a number in the version of postgres")
}
