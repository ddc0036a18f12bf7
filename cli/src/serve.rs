//! `dbsemaphore serve`: a web page for operators, JSON, and metrics. Requests read what one thread for each database has
//! queried last, so that a page costs the database nothing.

mod access;
mod answers;
mod changes;
mod chart;
mod forms;
mod history;
mod metrics;
mod page;
mod querying;
mod server;
mod spare;
mod text;
mod watched;

use crate::{database::Database, fault::Fault, options::Serve, output, signals};
use access::Access;
use nix::libc::{SIGINT, SIGTERM};
use std::{net::TcpListener, sync::Arc, time::Duration};
use watched::Watched;

/// What requests read.
struct State {
    databases: Vec<Arc<Watched>>,
    access: Access,
    interval: Duration,
}

pub(crate) fn serve(databases: Vec<Database>, options: &Serve) -> Result<(), Fault> {
    let listener = TcpListener::bind(&options.listen).map_err(|error| {
        Fault::new(format_args!(
            "can't listen on {:?}: {error}; give another ADDRESS:PORT with --listen, such as 127.0.0.1:9187",
            options.listen
        ))
    })?;
    let address = listener.local_addr()?;
    let access = Access::new(options, address)?;
    signals::listen([SIGINT, SIGTERM], |_| {
        output::finish();
        signal_hook::low_level::exit(0);
    })?;
    let state = State {
        databases: watched::start(databases, options.interval, options.allow_changes)?,
        access,
        interval: options.interval,
    };
    output::print(&format!("http://{address}/\n")).map_err(Fault::output)?;
    if !address.ip().is_loopback() {
        output::say(format_args!(
            "warning: {address} is no loopback address: whoever reaches it can read names, labels and addresses, without \
             encryption"
        ));
    }
    if let Some(token) = state.access.token_to_print() {
        output::say(format_args!("token for changes: {token}"));
    }
    server::run(listener, Arc::new(state))
}
