//! Connections that can be cut from this side.
//!
//! A stream whose client does not read cannot be ended: HTTP/2 delivers its end behind what is not read, and the server
//! below keeps it for as long as the connection lives. So the connection goes, as soon as no stream on it is well: a proxy
//! may carry many clients on one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// A connection, as its streams know it.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    cut: CancellationToken,
    /// Streams that are open and well.
    well: AtomicUsize,
    /// Whether there is one that is open and not well.
    stuck: AtomicBool,
}

/// A stream's share in its connection; lives as long as it is well.
#[derive(Debug)]
pub(super) struct Share(Line);

impl Line {
    /// A further stream is open.
    pub(super) fn share(&self) -> Share {
        self.shared.well.fetch_add(1, Ordering::SeqCst);
        Share(self.clone())
    }

    /// Returns when the connection is to be cut, for who holds it.
    pub(super) async fn severed(&self) {
        self.shared.cut.cancelled().await;
    }
}

impl Share {
    /// The stream is stuck: its client does not read.
    pub(super) fn stuck(self) {
        self.0.shared.stuck.store(true, Ordering::SeqCst);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let shared = &self.0.shared;
        if shared.well.fetch_sub(1, Ordering::SeqCst) == 1 && shared.stuck.load(Ordering::SeqCst) {
            shared.cut.cancel();
        }
    }
}

/// What is known of a stream's connection.
#[derive(Debug, Clone)]
pub(super) struct Origin<F> {
    /// Who is at the other end.
    pub(super) facts: F,
    /// The connection itself.
    pub(super) line: Line,
}

/// A connection that ends when its line is cut.
#[derive(Debug)]
pub(super) struct Severable<I> {
    io: I,
    line: Line,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<I> Severable<I> {
    pub(super) fn new(io: I) -> Self {
        let line = Line::default();
        let cut = Box::pin(line.shared.cut.clone().cancelled_owned());
        Self { io, line, cut }
    }

    fn check(&self) -> io::Result<()> {
        if self.line.shared.cut.is_cancelled() {
            Err(io::ErrorKind::ConnectionAborted.into())
        } else {
            Ok(())
        }
    }
}

impl<I: Connected> Connected for Severable<I> {
    type ConnectInfo = Origin<I::ConnectInfo>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Origin { facts: self.io.connect_info(), line: self.line.clone() }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Severable<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        // A connection always waits for something to read, so this is where it hears of the cut.
        if read.is_pending() && self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Severable<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_connection_is_cut_when_all_its_streams_are_stuck() {
        let (near, _far) = tokio::io::duplex(64);
        let mut io = Severable::new(near);
        let line = io.line.clone();
        let (first, second, third) = (line.share(), line.share(), line.share());
        drop(first);
        second.stuck();
        io.write_all(b"x").await.unwrap();
        let mut reading = Box::pin(async {
            let error = io.read_u8().await.unwrap_err();
            (error.kind(), io.write_all(b"x").await.unwrap_err().kind())
        });
        assert!(futures_util::poll!(&mut reading).is_pending(), "one is well");
        drop(third);
        assert_eq!(reading.await, (io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionAborted));
    }

    #[tokio::test]
    async fn a_connection_of_streams_that_ended_well_stays() {
        let (near, _far) = tokio::io::duplex(64);
        let mut io = Severable::new(near);
        drop(io.line.share());
        io.write_all(b"x").await.unwrap();
    }
}
