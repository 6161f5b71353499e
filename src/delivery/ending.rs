//! How a stream ends, and what its client is told then.

use std::hash::BuildHasher;

use tonic::Status;

use crate::runtime::shutdown::Shutdown;
use crate::session::ProtocolError;

/// How a stream ends.
#[derive(Debug)]
pub(super) enum End {
    /// With a status for the client.
    Status(Status),
    /// There is no client any more.
    Gone,
    /// The client does not read.
    Stalled,
}

/// Whether the connection broke, as opposed to a message that makes no sense: only what comes from below has a source.
pub(super) fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// Returns when this stream is to end: at a moment of its own within the grace, so that clients do not all arrive at
/// another replica at once.
pub(super) async fn time_to_leave(shutdown: &Shutdown) {
    shutdown.draining().await;
    // The keys of a hasher are std's one source of randomness; this needs no better one.
    let random = std::hash::RandomState::new().hash_one(());
    #[allow(clippy::cast_precision_loss)] // a share of a pause
    let share = random as f64 / u64::MAX as f64;
    tokio::select! {
        () = tokio::time::sleep(shutdown.grace().mul_f64(share)) => {}
        () = shutdown.stopped().cancelled_owned() => {}
    }
}

/// To whoever is still here, or comes.
pub(super) fn leaving() -> Status {
    Status::unavailable("this server is stopping: connect again")
}

/// To whoever asks for what cannot be.
pub(super) fn refusal(error: ProtocolError) -> End {
    End::Status(match error {
        ProtocolError::Malformed(what) => Status::invalid_argument(what),
        ProtocolError::TooMuch(what) => Status::resource_exhausted(what),
    })
}
