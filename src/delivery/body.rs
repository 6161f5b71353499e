//! The raw ends of a stream: requests decoded, responses as whole shared buffers.
//!
//! A `tonic` codec copies every message into a buffer of its own, per client. Here a response is a few bytes for this
//! client and the collection's blocks, which all clients share, and hyper is handed the very same buffers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};

/// In front of every gRPC message: a flag for compression (we never do) and the length, 4 bytes, big end first.
const HEADER: usize = 5;

/// The most that is handed to the connection at a time, so that it can be told whether the client reads: a block, unless
/// that is one large resource.
const PIECE: usize = 256 << 10;

/// One message, ready to be sent.
#[derive(Debug)]
pub struct Frames {
    buffers: VecDeque<Bytes>,
    bytes: usize,
}

impl Frames {
    /// The message without its gRPC header, in one piece: for who only wants to read it again.
    #[cfg(any(test, fuzzing))]
    pub(super) fn to_message(&self) -> Bytes {
        let whole: Vec<u8> = self.buffers.iter().flatten().copied().collect();
        Bytes::from(whole).slice(HEADER..)
    }
}

/// A message that gRPC cannot frame.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a response of {0} bytes: gRPC carries 4 GiB; divide the registries among several servers")]
pub struct TooLarge(usize);

/// The part of a message that is made for one client; room for the header is left in front.
#[derive(Debug)]
pub(super) struct Head(pub(super) Vec<u8>);

impl Head {
    pub(super) fn new() -> Self {
        // The fields of a response without resources take about 150 bytes.
        let mut buffer = Vec::with_capacity(256);
        buffer.resize(HEADER, 0);
        Self(buffer)
    }

    /// The message that consists of this and of `shared`.
    pub(super) fn followed_by(self, shared: impl Iterator<Item = Bytes>) -> Result<Frames, TooLarge> {
        let Self(mut head) = self;
        let mut buffers: VecDeque<Bytes> = shared.filter(|b| !b.is_empty()).collect();
        let bytes = head.len() - HEADER + buffers.iter().map(Bytes::len).sum::<usize>();
        let length = u32::try_from(bytes).map_err(|_| TooLarge(bytes))?;
        if let Some((flag, rest)) = head.split_first_mut()
            && let Some(slot) = rest.first_chunk_mut()
        {
            *flag = 0;
            *slot = length.to_be_bytes();
        }
        buffers.push_front(Bytes::from(head));
        Ok(Frames { buffers, bytes: bytes + HEADER })
    }
}

impl Frames {
    /// The whole message in one piece; copies what is shared, so for small ones.
    pub(super) fn into_bytes(self) -> Bytes {
        self.buffers.iter().flatten().copied().collect::<Vec<u8>>().into()
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

enum Parcel {
    Message(Frames, OwnedSemaphorePermit),
    End(Status),
}

/// The loop's end: where messages go in.
#[derive(Debug)]
pub(super) struct Outlet {
    out: mpsc::Sender<Parcel>,
    room: Arc<Semaphore>,
    moved: Arc<Moved>,
}

/// When something last moved between the two ends: it went in, or the connection took a piece of it.
#[derive(Debug)]
struct Moved {
    start: Instant,
    /// Milliseconds after the start.
    last: AtomicU64,
}

impl Moved {
    fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    fn now(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

impl Outlet {
    /// Waits until the connection has taken all of the message before.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.room).acquire_owned().await {
            Ok(permit) => permit,
            Err(_) => std::future::pending().await, // never closed
        }
    }

    /// Returns once the client is gone.
    pub(super) async fn closed(&self) {
        self.out.closed().await;
    }

    /// Whether something that was put in has not been taken yet, all of it.
    pub(super) fn is_busy(&self) -> bool {
        self.room.available_permits() == 0 || self.out.capacity() < self.out.max_capacity()
    }

    /// Returns once nothing of what was put in has moved for `limit`; never, while there is nothing or no limit.
    ///
    /// What is put in meanwhile does not wake it: only for the task that puts it in.
    pub(super) async fn stalled(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        while self.is_busy() {
            let until = self.moved.last() + limit;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
        std::future::pending().await
    }

    pub(super) fn send(&self, message: Frames, room: OwnedSemaphorePermit) {
        self.put(Parcel::Message(message, room));
    }

    /// After what was sent, ends the stream.
    pub(super) fn end(&self, status: Status) {
        self.put(Parcel::End(status));
    }

    fn put(&self, parcel: Parcel) {
        self.moved.now();
        // There is a place for one message, of which there is one permit, and one for the end. It fails only if the
        // client is gone, which `closed` tells.
        let _ = self.out.try_send(parcel);
    }
}

/// The connection's end: an HTTP body.
pub(super) struct PushBody {
    inbox: mpsc::Receiver<Parcel>,
    current: VecDeque<Bytes>,
    /// Given back when all of it is taken.
    room: Option<OwnedSemaphorePermit>,
    moved: Arc<Moved>,
    ended: bool,
}

impl PushBody {
    pub(super) fn channel() -> (Outlet, Self) {
        let (out, inbox) = mpsc::channel(2);
        let moved = Arc::new(Moved::new());
        let outlet = Outlet { out, room: Arc::new(Semaphore::new(1)), moved: Arc::clone(&moved) };
        (outlet, Self { inbox, current: VecDeque::new(), room: None, moved, ended: false })
    }
}

impl PushBody {
    /// What is sent next of the message.
    fn next_piece(&mut self) -> Option<Bytes> {
        let first = self.current.front_mut()?;
        if first.len() > PIECE { Some(first.split_to(PIECE)) } else { self.current.pop_front() }
    }
}

impl Body for PushBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(piece) = self.next_piece() {
                self.moved.now();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            // Asked for more: the connection has put what it took into its own queue.
            self.room = None;
            let status = match ready!(self.inbox.poll_recv(cx)) {
                Some(Parcel::Message(message, room)) => {
                    self.current = message.buffers;
                    self.room = Some(room);
                    continue;
                }
                Some(Parcel::End(status)) => status,
                None => Status::internal("the stream's task ended without a word; please report it"),
            };
            self.ended = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// How a status ends a stream.
pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // A message that no header can carry: the code alone then.
        let _ = Status::new(status.code(), "").add_header(&mut trailers);
    }
    trailers
}

/// Decodes requests; what is no message of the type is the client's fault, and it is told so.
#[derive(Debug)]
pub(super) struct RequestDecoder<M>(PhantomData<fn() -> M>);

impl<M> Default for RequestDecoder<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<M: prost::Message + Default> Decoder for RequestDecoder<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        let bad = |e| Status::invalid_argument(format!("a request that cannot be read: {e}"));
        M::decode(source).map(Some).map_err(bad)
    }

    fn buffer_settings(&self) -> BufferSettings {
        // A request without names takes a few hundred bytes, and every idle stream keeps its buffer. The second number
        // is for encoders only.
        BufferSettings::new(1 << 10, 32 << 10)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_secs(60));

    fn three() -> Frames {
        let blocks = ["a", "b"].map(|b| Bytes::from_static(b.as_bytes()));
        Head::new().followed_by(blocks.into_iter()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_bytes_that_do_not_move_are_stalled() {
        let (outlet, mut body) = PushBody::channel();
        let never = tokio::time::timeout(Duration::from_secs(3600), outlet.stalled(LIMIT)).await;
        assert!(never.is_err(), "there is nothing that could move");
        outlet.send(three(), outlet.room().await);
        for _ in 0..3 {
            assert!(tokio::time::timeout(Duration::from_secs(59), outlet.stalled(LIMIT)).await.is_err());
            body.frame().await.unwrap().unwrap();
        }
        assert!(futures_util::poll!(std::pin::pin!(body.frame())).is_pending());
        let all_taken = tokio::time::timeout(Duration::from_secs(3600), outlet.stalled(LIMIT)).await;
        assert!(all_taken.is_err());
        outlet.send(three(), outlet.room().await);
        body.frame().await.unwrap().unwrap();
        let start = Instant::now();
        outlet.stalled(LIMIT).await;
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    #[tokio::test]
    async fn a_message_goes_out_in_pieces_and_there_is_room_after_the_last() {
        let (outlet, mut body) = PushBody::channel();
        let block = Bytes::from(vec![1; 2 * PIECE + 1]);
        let message = Head::new().followed_by(std::iter::once(block)).unwrap();
        outlet.send(message, outlet.room().await);
        let mut sizes = Vec::new();
        for _ in 0..4 {
            assert!(futures_util::poll!(std::pin::pin!(outlet.room())).is_pending());
            sizes.push(body.frame().await.unwrap().unwrap().into_data().unwrap().len());
        }
        assert_eq!(sizes, [HEADER, PIECE, PIECE, 1]);
        assert!(
            futures_util::poll!(std::pin::pin!(outlet.room())).is_pending(),
            "the last is not queued yet"
        );
        assert!(futures_util::poll!(std::pin::pin!(body.frame())).is_pending());
        drop(outlet.room().await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_nobody_takes_is_stalled() {
        let (outlet, mut body) = PushBody::channel();
        outlet.end(Status::ok(""));
        let start = Instant::now();
        outlet.stalled(LIMIT).await;
        assert_eq!(start.elapsed().as_secs(), 60);
        assert!(tokio::time::timeout(Duration::from_secs(3600), outlet.stalled(None)).await.is_err());
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(!outlet.is_busy());
    }
}
