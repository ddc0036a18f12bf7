//! Replication.

use super::Server;
use crate::backend::run;
use diesel::{Connection, MysqlConnection};

/// Settings by which a server writes a binary log with global transaction ids.
const LOG: [&str; 4] = [
    "log_bin=binlog",
    "loose_gtid_mode=ON",
    "loose_enforce_gtid_consistency=ON",
    "innodb_flush_log_at_trx_commit=1",
];

impl Server {
    /// A server that replicas can follow.
    pub fn start_primary() -> Self {
        Self::start_with(&LOG)
    }

    /// A server that repeats what was and will be written on this one, until it is promoted, and refuses other writes.
    pub fn start_replica(&self) -> Self {
        let replica =
            Self::start_with(&[LOG.as_slice(), &["server_id=2", "loose_relay_log=relay"]].concat());
        let port = self.port();
        replica.run(&format!(
            "/*M! CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'root', MASTER_USE_GTID = slave_pos */ \
             /*!80000 CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'root', \
                 SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1 */"
        ));
        replica.run("/*M! START SLAVE */ /*!80000 START REPLICA */");
        replica.run("SET GLOBAL read_only = 1");
        replica
    }

    /// Makes a replica a server of its own.
    pub fn promote(&self) {
        self.run("/*M! STOP SLAVE */ /*!80000 STOP REPLICA */");
        self.run("/*M! RESET SLAVE ALL */ /*!80000 RESET REPLICA ALL */");
        self.run("SET GLOBAL read_only = 0");
    }

    fn run(&self, statement: &str) {
        let mut conn =
            MysqlConnection::establish(&self.url()).expect("a connection to a server for tests");
        run(&mut conn, statement);
    }
}
