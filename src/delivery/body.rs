//! The raw ends of a stream: requests decoded, responses as whole shared buffers.
//!
//! A `tonic` codec copies every message into a buffer of its own, per client. Here a response is a few bytes for this
//! client and the collection's blocks, which all clients share, and hyper is handed the very same buffers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};

/// In front of every gRPC message: a flag for compression (we never do) and the length, 4 bytes, big end first.
const HEADER: usize = 5;

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

    pub(super) fn send(&self, message: Frames, room: OwnedSemaphorePermit) {
        self.put(Parcel::Message(message, room));
    }

    /// After what was sent, ends the stream.
    pub(super) fn end(&self, status: Status) {
        self.put(Parcel::End(status));
    }

    fn put(&self, parcel: Parcel) {
        // There is a place for one message, of which there is one permit, and one for the end. It fails only if the
        // client is gone, which `closed` tells.
        let _ = self.out.try_send(parcel);
    }
}

/// The connection's end: an HTTP body.
pub(super) struct PushBody {
    inbox: mpsc::Receiver<Parcel>,
    current: VecDeque<Bytes>,
    /// Given back when `current` is empty.
    room: Option<OwnedSemaphorePermit>,
    ended: bool,
}

impl PushBody {
    pub(super) fn channel() -> (Outlet, Self) {
        let (out, inbox) = mpsc::channel(2);
        let outlet = Outlet { out, room: Arc::new(Semaphore::new(1)) };
        (outlet, Self { inbox, current: VecDeque::new(), room: None, ended: false })
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
            if let Some(buffer) = self.current.pop_front() {
                if self.current.is_empty() {
                    self.room = None;
                }
                return Poll::Ready(Some(Ok(Frame::data(buffer))));
            }
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
            let mut trailers = HeaderMap::new();
            if status.add_header(&mut trailers).is_err() {
                // A message that no header can carry: the code alone then.
                let _ = Status::new(status.code(), "").add_header(&mut trailers);
            }
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
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
