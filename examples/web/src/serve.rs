use crate::{Fallible, metrics, page, quotes, reports, shop::Shop};
use actix_web::{
    App, HttpServer,
    dev::{ServerHandle, Service},
    rt::{
        self, System,
        signal::unix::{Signal, SignalKind, signal},
        time::{sleep, timeout},
    },
    web,
};
use std::{future::poll_fn, io::Write, task::Poll, time::Duration};

pub(crate) fn until_told_to_stop(shop: Shop) -> Fallible<()> {
    System::new().block_on(serve(web::Data::new(shop)))
}

async fn serve(shop: web::Data<Shop>) -> Fallible<()> {
    let signals = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    ];
    // Of each worker. What they do takes a connection, so more of them could only wait for one.
    let threads = shop.config.ticket_connections + shop.config.work_connections;
    let listen = shop.config.listen.clone();
    let for_app = shop.clone();
    let server = HttpServer::new(move || {
        let shop = for_app.clone();
        App::new()
            .app_data(for_app.clone())
            .route("/", web::get().to(page::get))
            .route("/live.js", web::get().to(page::script))
            .route("/metrics", web::get().to(metrics::get))
            .route("/quotes/{parcel}", web::post().to(quotes::post))
            .route("/reports", web::post().to(reports::post))
            .wrap_fn(move |request, service| {
                let shop = shop.clone();
                let answer = service.call(request);
                async move {
                    let _visit = shop.visitors.enter();
                    answer.await
                }
            })
    })
    .worker_max_blocking_threads(usize::try_from(threads)?)
    .disable_signals()
    .shutdown_timeout(1)
    .bind(&listen)
    .map_err(|error| format!("can't listen on {listen:?}, the value of LISTEN: {error}"))?;
    for address in server.addrs() {
        println!("http://{address}/");
    }
    std::io::stdout().flush()?;
    let server = server.run();
    rt::spawn(stop_when_told(signals, server.handle(), shop));
    server.await?;
    Ok(())
}

/// First nobody comes in any more, then those inside are answered, and then it ends.
///
/// Left to itself, actix would give no answers after Ctrl-C. After SIGTERM it would, mostly: actix-server 2.6 may end a
/// worker, with all that it is about to answer, before that one has heard that it may take its time.
async fn stop_when_told(signals: [Signal; 2], server: ServerHandle, shop: web::Data<Shop>) {
    any_of(signals).await;
    server.pause().await;
    let longest = shop.config.wait_limit
        + 2 * shop.config.carrier_time
        + shop.config.report_time
        + Duration::from_secs(5);
    let answered = async {
        while shop.visitors.inside() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        // The last answer has yet to be sent.
        sleep(Duration::from_millis(100)).await;
    };
    if timeout(longest, answered).await.is_err() {
        log::warn!("stops although {} are inside", shop.visitors.inside());
    }
    server.stop(true).await;
}

async fn any_of(mut signals: [Signal; 2]) {
    poll_fn(|context| {
        let told = signals
            .iter_mut()
            .any(|signal| signal.poll_recv(context).is_ready());
        if told { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
