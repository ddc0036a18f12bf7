//! Asks somebody else, under a guard.

use crate::{
    error::Error,
    schema::quote,
    shop::{CARRIER, Shop},
};
use actix_web::web;
use diesel::prelude::*;
use diesel_dbsemaphore::{self as sem, Request};

pub(crate) async fn post(shop: web::Data<Shop>, parcel: web::Path<i32>) -> Result<String, Error> {
    let parcel = parcel.into_inner();
    let pass = shop.carrier_door.enter()?;
    let cents = web::block(move || {
        let _pass = pass;
        ask_and_keep(&shop, parcel)
    })
    .await??;
    Ok(format!(
        "parcel {parcel} costs {}.{:02}\n",
        cents / 100,
        cents % 100
    ))
}

fn ask_and_keep(shop: &Shop, parcel: i32) -> Result<i32, Error> {
    let label = format!("quote for parcel {parcel}");
    let request = Request::new(CARRIER)
        .wait(shop.config.wait_limit)
        .label(&label);
    let cents = sem::with_ticket(&shop.pools.tickets, request, |_ticket| {
        Ok::<_, Error>(shop.carrier.price(parcel)?)
    })?;
    // The ticket is released before this: it is for the carrier only, and others wait for it.
    diesel::insert_into(quote::table)
        .values((quote::parcel.eq(parcel), quote::cents.eq(cents)))
        .execute(&mut shop.pools.work.get()?)?;
    Ok(cents)
}
