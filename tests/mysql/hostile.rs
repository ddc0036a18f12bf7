//! Settings of a session that change how SQL is read, planned and run.

use super::run;
use diesel::{Connection, MysqlConnection};
use diesel_dbsemaphore::{self as sem, CancellationToken, Error, Request, SemaphoreTicket};
use stand::{eventually, mysql::Database};
use std::{thread, time::Duration};

/// Each is tried alone, by the servers that know it.
const SETTINGS: &[&str] = &[
    // How SQL is read.
    "sql_mode = ''",
    "sql_mode = 'TRADITIONAL'",
    "sql_mode = 'ONLY_FULL_GROUP_BY,ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,HIGH_NOT_PRECEDENCE,\
     IGNORE_SPACE,NO_UNSIGNED_SUBTRACTION,NO_AUTO_VALUE_ON_ZERO,NO_ZERO_DATE,REAL_AS_FLOAT'",
    "sql_mode = 'EMPTY_STRING_IS_NULL,SIMULTANEOUS_ASSIGNMENT,TIME_ROUND_FRACTIONAL'",
    "sql_mode = 'PAD_CHAR_TO_FULL_LENGTH,TIME_TRUNCATE_FRACTIONAL'",
    "sql_mode = 'MSSQL'",
    "collation_connection = 'utf8mb4_bin'",
    "collation_connection = 'utf8mb4_turkish_ci'",
    "NAMES latin1",
    "character_set_client = 'latin1'",
    "lc_messages = 'de_DE'",
    "time_zone = '+13:00'",
    "div_precision_increment = 0",
    // What is refused or cut off.
    "sql_safe_updates = 1",
    "sql_select_limit = 1",
    "sql_auto_is_null = 1",
    "max_error_count = 0",
    "check_constraint_checks = 0",
    "foreign_key_checks = 0",
    "unique_checks = 0",
    "sql_require_primary_key = 1",
    "sql_generate_invisible_primary_key = 1",
    "default_storage_engine = 'MyISAM'",
    // Transactions and sessions.
    "SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
    "SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "innodb_snapshot_isolation = 1",
    "innodb_lock_wait_timeout = 1",
    "lock_wait_timeout = 1",
    "session_track_state_change = 1",
    "session_track_transaction_info = 'CHARACTERISTICS'",
    // What is planned.
    "big_tables = 1",
    "tmp_table_size = 1024",
    "join_buffer_size = 128",
    "query_cache_type = 1",
    "use_stat_tables = 'NEVER'",
    "join_cache_level = 8",
    "in_predicate_conversion_threshold = 1",
    "optimizer_prune_level = 0",
    "optimizer_search_depth = 1",
    "optimizer_use_condition_selectivity = 1",
    "max_seeks_for_key = 1",
    "eq_range_index_dive_limit = 1",
    "range_optimizer_max_mem_size = 1",
    "internal_tmp_mem_storage_engine = 'MEMORY'",
    // Each server knows one of these.
    "optimizer_switch = 'index_merge=off,index_condition_pushdown=off,mrr=on,mrr_cost_based=off,semijoin=off,materialization=off,\
     firstmatch=off,loosescan=off,derived_merge=off,derived_with_keys=off,split_materialized=off,exists_to_in=off,\
     join_cache_incremental=off,join_cache_hashed=off,partial_match_rowid_merge=off,subquery_cache=off'",
    "optimizer_switch = 'index_merge=off,index_condition_pushdown=off,mrr_cost_based=off,semijoin=off,materialization=off,\
     firstmatch=off,loosescan=off,derived_merge=off,batched_key_access=on,skip_scan=off,use_invisible_indexes=on,\
     prefer_ordering_index=off,condition_fanout_filter=off,derived_condition_pushdown=off'",
];

fn connect(database: &Database, setting: &str) -> Option<MysqlConnection> {
    let mut conn = database.connect();
    let set = run(&mut conn, &format!("SET {setting}"));
    set.is_ok().then_some(conn)
}

fn main_calls(connect: impl Fn() -> MysqlConnection + Sync) -> sem::Result<()> {
    let (mut first, mut second, mut observer) = (connect(), connect(), connect());
    sem::run_migrations(&mut first)?;
    sem::run_migrations(&mut first)?;
    assert!(sem::ensure(&mut first, "reports", 2)?);
    sem::make(&mut first, "other", 1)?;
    sem::make(&mut first, "reports", 3)?;
    assert_eq!(sem::list(&mut observer)?.len(), 2);

    // Only the ticket with the highest slot remains.
    let mut guards = Vec::new();
    for _ in 0..3 {
        guards.push(SemaphoreTicket::require(connect(), "reports")?);
    }
    assert_eq!(sem::holders(&mut observer, "reports")?.len(), 3);
    assert!(SemaphoreTicket::acquire(&mut first, "reports")?.is_none());
    guards.sort_by_key(|guard| guard.ticket().ids().to_vec());
    let last = guards.pop().unwrap();
    drop(guards);
    sem::make(&mut first, "reports", 1)?;
    assert_eq!(sem::usage_of(&mut observer, "reports")?.size, 1);
    assert_eq!(last.ticket().ids().len(), 1);
    last.release()?;
    sem::make(&mut first, "reports", 4)?;
    assert_eq!(sem::usage_of(&mut observer, "reports")?.size, 4);

    first.transaction::<_, Error, _>(|conn| {
        sem::require(conn, "other")?;
        assert!(SemaphoreTicket::acquire(&mut second, "other")?.is_none());
        Ok(())
    })?;
    let mut guard =
        SemaphoreTicket::require(&mut first, Request::new("reports").tickets(4).label("Ada"))?;
    let token = CancellationToken::new();
    thread::scope(|scope| -> sem::Result<()> {
        let waiter = |label: &'static str, tickets| {
            let (token, connect) = (&token, &connect);
            scope.spawn(move || {
                let request = Request::new("reports").label(label).tickets(tickets);
                let mut conn = connect();
                if label == "cancelled" {
                    return SemaphoreTicket::acquire(
                        &mut conn,
                        request.cancellation(token).wait_forever(),
                    )
                    .map(|g| g.is_some());
                }
                SemaphoreTicket::acquire(&mut conn, request.wait(Duration::from_secs(60)))
                    .map(|g| g.is_some())
            })
        };
        let waiting = waiter("waiting", 2);
        eventually("it waits", || {
            sem::waiters(&mut observer, "reports").unwrap().len() == 1
        });
        let cancelled = waiter("cancelled", 1);
        eventually("both wait", || {
            sem::waiters(&mut observer, "reports").unwrap().len() == 2
        });
        let waiters = sem::waiters(&mut observer, "reports")?;
        assert_eq!(waiters[0].session.label.as_deref(), Some("waiting"));
        let holders = sem::holders(&mut observer, "reports")?;
        assert_eq!(holders.len(), 4);
        assert!(holders[0].held_for.unwrap() < Duration::from_secs(60));
        assert_eq!(holders[0].session.label.as_deref(), Some("Ada"));
        let usage = sem::usage(&mut observer)?;
        assert_eq!((usage[1].in_use, usage[1].waiting), (4, 2));
        guard.check()?;
        assert!(token.cancel(&mut second)?);
        assert!(matches!(
            cancelled.join().unwrap(),
            Err(Error::Cancelled { .. })
        ));
        guard.release()?;
        assert!(waiting.join().unwrap()?);
        Ok(())
    })?;
    assert_eq!(sem::holders(&mut observer, "reports")?, []);
    assert!(sem::destroy(&mut first, "reports")?);
    assert_eq!(sem::pending_sql(&mut first)?, "");
    sem::revert_migrations(&mut first)
}

#[test]
fn the_main_calls_work_under_each_setting() {
    let mut known = 0;
    for setting in SETTINGS {
        let database = Database::create();
        if connect(&database, setting).is_some() {
            known += 1;
            main_calls(|| connect(&database, setting).expect(setting))
                .unwrap_or_else(|error| panic!("{setting}: {error}"));
        }
    }
    assert!(known > 25, "{known}");
}

/// Each of these leaves a transaction open that Diesel does not count.
#[test]
fn a_transaction_that_diesel_does_not_count_is_refused() {
    let database = Database::create();
    sem::run_migrations(&mut database.connect()).unwrap();
    for setting in ["autocommit = 0", "completion_type = 'CHAIN'"] {
        let mut conn = connect(&database, setting).unwrap();
        conn.transaction(|conn| run(conn, "DO 0")).unwrap();
        sem::list(&mut conn).unwrap();
        run(&mut conn, "SELECT COUNT(*) FROM dbsemaphore_semaphore").unwrap();
        let refused = [
            sem::make(&mut conn, "reports", 1).unwrap_err(),
            sem::usage(&mut conn).unwrap_err(),
            SemaphoreTicket::acquire(&mut conn, "reports").unwrap_err(),
        ];
        for error in refused {
            assert!(
                matches!(error, Error::AlreadyInTransaction),
                "{setting}: {error}"
            );
        }
    }
}

#[test]
fn a_guard_needs_no_session_that_can_write() {
    let (database, mut root) = super::with_semaphore("reports", 1);
    let mut conn = connect(&database, "SESSION TRANSACTION READ ONLY").unwrap();
    drop(SemaphoreTicket::require(&mut conn, Request::new("reports").label("Ada")).unwrap());
    sem::make(&mut conn, "reports", 2).unwrap();
    sem::revert_migrations(&mut root).unwrap();
    let refused = sem::run_migrations(&mut conn).unwrap_err().to_string();
    assert!(refused.contains("READ ONLY"), "{refused}");
}
