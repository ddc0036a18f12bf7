//! Tokens increase with each acquisition, whatever happens to the server in between.

use crate::contract::fencing::{assert_rise, token_of_a_guard};
use crate::kit::{ServerDatabase, TestDatabase, eventually};
use crate::postgres::number;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stand::Database;
use stand::{Server, Stop};

#[test]
fn tokens_remain_while_the_ticket_is_held() {
    let database = Database::with_size(3);
    let mut conn = database.connect();
    conn.transaction::<_, sem::Error, _>(|c| {
        let one = sem::require(c, "x")?;
        assert_eq!(sem::require(c, "x")?, one);
        let rolled_back = c.transaction::<(), sem::Error, _>(|c| {
            let two = sem::require(c, Request::new("x").tickets(2))?;
            assert!(two.fencing_token() > one.fencing_token());
            assert_eq!(sem::require(c, "x")?, two);
            Err(sem::Error::NotMigrated)
        });
        assert!(rolled_back.is_err());
        assert_eq!(sem::require(c, "x")?, one);
        Ok(())
    })
    .unwrap();
}

/// As Amazon Aurora does. PostgreSQL's own function can't be replaced, so ours call another one.
#[test]
fn tokens_increase_if_the_server_refuses_its_wal_functions() {
    const FUNCTIONS: &str = include_str!("../../sql/postgres/fencing.sql");
    let database = Database::with_size(1);
    let mut conn = database.connect();
    conn.batch_execute(
        "CREATE FUNCTION public.refuse() RETURNS pg_lsn \
         LANGUAGE plpgsql AS 'BEGIN RAISE feature_not_supported; END'",
    )
    .unwrap();
    let mut tokens = vec![token_of_a_guard(&mut conn)];
    for (name, function) in [
        ("refused", "public.refuse()"),
        ("told", "pg_current_wal_lsn()"),
    ] {
        conn.batch_execute(&FUNCTIONS.replace("pg_current_wal_lsn()", function))
            .unwrap();
        sem::run_migrations(&mut conn).unwrap();
        tokens.push(token_of_a_guard(&mut conn));
        sem::make(&mut conn, name, 1).unwrap();
        assert!(SemaphoreTicket::acquire(&mut conn, name).unwrap().is_some());
    }
    let epochs: Vec<_> = tokens.iter().map(|token| token >> 52).collect();
    assert_rise(&epochs);
}

/// If one server process is killed, the postmaster ends all others, and restarts by itself.
#[test]
fn tokens_increase_after_a_server_process_was_killed() {
    let server = Server::start();
    let database = server.create_database();
    database.migrate(1);
    let mut conn = database.connect();
    conn.batch_execute("CHECKPOINT").unwrap();
    let mut tokens = vec![token_of_a_guard(&mut conn)];
    let pid = Database::session_id(&mut conn).try_into().unwrap();
    let mut lost = SemaphoreTicket::require(conn, "x").unwrap();
    tokens.push(lost.ticket().fencing_token());
    let mut bystander = database.connect();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    eventually("the holder is told", || lost.check().is_err());
    // Before the postmaster knows, it still accepts connections that it will end.
    eventually("the others go, too", || {
        bystander.batch_execute("SELECT 1").is_err()
    });
    eventually("the server is there again", || {
        PgConnection::establish(&database.url()).is_ok()
    });
    tokens.push(token_of_a_guard(&mut database.connect()));
    assert_rise(&tokens);
}

/// The documented statement, by a holder that was killed and doesn't know.
#[test]
fn tokens_reject_a_late_write() {
    use diesel::{RunQueryDsl, sql_query, sql_types::BigInt};
    let database = Database::with_size(1);
    let mut work = database.connect();
    work.batch_execute("CREATE TABLE guarded (ticket bigint PRIMARY KEY, token bigint NOT NULL)")
        .unwrap();
    let mut write = |ticket: &sem::Ticket| {
        sql_query(
            "INSERT INTO guarded AS g VALUES ($1, $2) ON CONFLICT (ticket) \
             DO UPDATE SET token = excluded.token WHERE g.token <= excluded.token",
        )
        .bind::<BigInt, _>(ticket.ids()[0])
        .bind::<BigInt, _>(ticket.fencing_token())
        .execute(&mut work)
        .unwrap()
    };
    let mut conn = database.connect();
    let pid = Database::session_id(&mut conn);
    let former = SemaphoreTicket::require(conn, "x").unwrap();
    assert_eq!(write(former.ticket()), 1);
    database.kill_session(pid);
    let present = SemaphoreTicket::require(database.connect(), "x").unwrap();
    assert_eq!(write(present.ticket()), 1);
    assert_eq!(write(former.ticket()), 0, "late");
    assert_eq!(write(present.ticket()), 1);
}

/// Tokens before and after each move: promotions, `pg_upgrade`, a dump that is restored in a new cluster. After a move, an
/// application starts.
#[test]
fn tokens_increase_across_moves_to_other_clusters() {
    let mut primary = Server::start_installed();
    let database = primary.create_database();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
    let mut tokens = vec![token_of_a_guard(&mut conn)];
    drop(conn);

    let mut second = primary.start_standby();
    let follows = |standby: &Server| {
        let mut conn = PgConnection::establish(&database.url_on(standby)).unwrap();
        eventually("the standby has the semaphore", || {
            number(&mut conn, "SELECT count(*) FROM dbsemaphore.ticket") == 1
        });
    };
    follows(&second);
    let third = second.start_standby();
    follows(&third);
    primary.stop(Stop::Kill);
    second.promote();
    tokens.push(token_of_a_guard(
        &mut PgConnection::establish(&database.url_on(&second)).unwrap(),
    ));
    let position = |server: &Server, of: &str| {
        let mut conn = PgConnection::establish(&server.url()).unwrap();
        number(
            &mut conn,
            &format!("SELECT coalesce({of} - '0/0', 0)::bigint"),
        )
    };
    let end = position(&second, "pg_current_wal_flush_lsn()");
    eventually("the standby has the WAL of the new timeline", || {
        position(&third, "pg_last_wal_receive_lsn()") >= end
    });
    // Nobody has recorded the promotion when the next one comes, or the dump.
    second.stop(Stop::Kill);
    third.promote();
    let mut third = third;
    let mut conn = PgConnection::establish(&database.url_on(&third)).unwrap();
    tokens.push(token_of_a_guard(&mut conn));
    drop(conn);

    let fresh = Server::start_installed();
    let copy = fresh.restore_from(&database.url_on(&third));
    let mut conn = copy.connect();
    sem::run_migrations(&mut conn).unwrap();
    tokens.push(token_of_a_guard(&mut conn));

    let upgraded = third.upgrade();
    let mut conn = PgConnection::establish(&database.url_on(&upgraded)).unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
    let after_upgrade = token_of_a_guard(&mut conn);
    let before = tokens[tokens.len() - 2];
    assert!(before < after_upgrade, "{before} {after_upgrade}");
    // Nothing is left to be recorded.
    let epoch = "SELECT epoch FROM dbsemaphore.semaphore";
    let recorded = number(&mut conn, epoch);
    sem::run_migrations(&mut conn).unwrap();
    assert_eq!(number(&mut conn, epoch), recorded);
    tokens.push(token_of_a_guard(&mut conn));
    assert_rise(&tokens);
}
