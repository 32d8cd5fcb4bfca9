//! Ctrl+C, SIGTERM and a closed terminal.

use tokio::signal::unix::{SignalKind, signal};

/// Ends at the first signal that asks this process to end.
pub async fn interrupted() {
    let (Ok(mut int), Ok(mut term), Ok(mut hup)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    ) else {
        // Without handlers the system ends the process, which is safe: what was told to anybody is
        // on disk.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
}
