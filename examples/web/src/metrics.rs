use crate::{
    pools::PgPool,
    shop::{CARRIER, REPORTS, Shop},
};
use actix_web::web;

/// Plain text, a number on each line. What it says comes from this process; no database is asked.
pub(crate) async fn get(shop: web::Data<Shop>) -> String {
    let sections = [
        (CARRIER, &shop.carrier.visitors),
        (REPORTS, &shop.report_visitors),
    ]
    .map(|(name, visitors)| {
        format!(
            "inside{{section=\"{name}\"}} {}\nmost_inside{{section=\"{name}\"}} {}\nvisits_total{{section=\"{name}\"}} {}\n",
            visitors.inside(),
            visitors.most(),
            visitors.in_all()
        )
    });
    let pools = [("tickets", &shop.pools.tickets), ("work", &shop.pools.work)].map(
        |(name, pool): (_, &PgPool)| {
            let state = pool.state();
            format!(
                "connections{{pool=\"{name}\"}} {}\nconnections_idle{{pool=\"{name}\"}} {}\n",
                state.connections, state.idle_connections
            )
        },
    );
    sections.concat() + &pools.concat()
}
