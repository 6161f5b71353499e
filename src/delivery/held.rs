//! The body of a stream that is refused: nothing for a while, then a status.
//!
//! Pilot 1.6 to 1.8 opens a stream again at once when one has ended, thousands of times a second; one that hears nothing
//! waits. It costs a timer and no task.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tonic::Status;

use crate::delivery::body::trailers;

/// How long a stream is held that is refused.
pub(super) const HOLD: Duration = Duration::from_secs(1);
/// Streams that are held at a time, about 1 KB each; any further one ends at once.
pub(super) const MOST_HELD: usize = 1024;

/// Says nothing, and then the status.
pub(super) struct HeldBody {
    sleep: Pin<Box<Sleep>>,
    status: Option<Status>,
    _place: OwnedSemaphorePermit,
}

impl HeldBody {
    pub(super) fn new(status: Status, place: OwnedSemaphorePermit) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(HOLD)), status: Some(status), _place: place }
    }
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.status.is_some() {
            ready!(self.sleep.as_mut().poll(cx));
        }
        Poll::Ready(self.status.take().map(|status| Ok(Frame::trailers(trailers(&status)))))
    }

    fn is_end_stream(&self) -> bool {
        self.status.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_stream_is_held_and_then_told_why() {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let (mut body, start) = (HeldBody::new(Status::permission_denied("not you"), place), Instant::now());
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(start.elapsed().as_millis() / 10, HOLD.as_millis() / 10);
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!((status.code(), status.message()), (tonic::Code::PermissionDenied, "not you"));
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert!(Arc::clone(&places).try_acquire_owned().is_err());
        drop(body);
        assert!(places.try_acquire_owned().is_ok(), "its place is free again");
    }
}
