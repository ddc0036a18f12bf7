//! Breaks the library on purpose, in one of its functions on the server: a suite that finds nothing then is worth nothing.

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection, sql_types::BigInt,
};

macro_rules! sabotages {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../sabotages/", $name, ".sql")))),*]
    };
}

const ALL: &[(&str, &str)] = sabotages! {
    "no-host-timeout"
    "idle-timeout-left-on"
    "tickets-updated"
    "queue-locks-kept"
    "tokens-from-sequence"
    "overtaking"
};

/// SQL that replaces a function of the library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sabotage(&'static str);

impl Sabotage {
    /// What `SABOTAGE=` says.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let (_, sql) = ALL.iter().find(|(name, _)| *name == word)?;
        Some(Self(sql))
    }

    pub(crate) fn commit(self, conn: &mut PgConnection) {
        let before = count_functions(conn);
        conn.batch_execute(self.0).expect("the changed function");
        assert_eq!(
            count_functions(conn),
            before,
            "it replaces none: {}",
            self.0
        );
    }
}

fn count_functions(conn: &mut PgConnection) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    diesel::sql_query(
        "SELECT count(*) AS count FROM pg_proc WHERE pronamespace = 'dbsemaphore'::regnamespace",
    )
    .get_result::<Count>(conn)
    .expect("the functions of the library")
    .count
}
