use std::{
    net::TcpListener,
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::UNIX_EPOCH,
};

/// A port that nobody listens on, below those that the system gives to outgoing connections: of these, one could get it
/// before the server does.
pub(crate) fn available_port() -> u16 {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| {
        let now = UNIX_EPOCH.elapsed().map_or(0, |age| age.subsec_micros());
        AtomicU32::new(process::id() ^ now)
    });
    (0..12_000)
        .map(|_| 20_000 + (NEXT.fetch_add(1, Relaxed) % 12_000) as u16)
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .expect("an available port")
}
