//! Heavy work in the database, with a ticket in its own transaction.

use crate::{
    error::Error,
    schema::{quote, report},
    shop::{REPORTS, Shop},
};
use actix_web::web;
use diesel::{
    dsl::{count_star, sum},
    prelude::*,
    sql_types::Double,
};
use diesel_dbsemaphore::{self as sem, Request};

pub(crate) async fn post(shop: web::Data<Shop>) -> Result<String, Error> {
    let pass = shop.report_door.enter()?;
    let (id, quotes) = web::block(move || {
        let _pass = pass;
        write(&shop)
    })
    .await??;
    Ok(format!("report {id} is over {quotes} quotes\n"))
}

fn write(shop: &Shop) -> Result<(i64, i64), Error> {
    shop.pools.work.get()?.transaction(|conn| {
        let _ticket = sem::require(conn, Request::new(REPORTS).label("report over all quotes"))?;
        let _visit = shop.report_visitors.enter();
        // It would be a heavy query.
        diesel::sql_query("SELECT pg_sleep($1)")
            .bind::<Double, _>(shop.config.report_time.as_secs_f64())
            .execute(conn)?;
        let (quotes, cents): (i64, Option<i64>) = quote::table
            .select((count_star(), sum(quote::cents)))
            .first(conn)?;
        let id = diesel::insert_into(report::table)
            .values((
                report::quotes.eq(quotes),
                report::cents.eq(cents.unwrap_or(0)),
            ))
            .returning(report::id)
            .get_result(conn)?;
        Ok((id, quotes))
    })
}
