//! Connections that can be cut from this side.
//!
//! A stream whose client does not read cannot be ended: HTTP/2 delivers its end behind what is not read, and the server
//! below keeps it for as long as the connection lives. So the connection goes, as soon as no stream on it is well: a proxy
//! may carry many clients on one.
//!
//! A connection on which there is no stream for a while goes as well: who has no business here takes no place among the
//! open files, and whoever comes back to it connects anew.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::delivery::connections::{Connections, Open};

/// After so long without a stream, or at most twice that, a connection is closed. Pilots open theirs at once, and health
/// checks ask every few seconds.
const IDLE: Duration = Duration::from_secs(60);

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
    /// Whether anything was asked for since somebody last looked.
    used: AtomicBool,
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

    /// Something is asked for on it.
    pub(super) fn used(&self) {
        self.shared.used.store(true, Ordering::SeqCst);
    }

    /// Whether nothing was asked for since the last time, and no stream is open.
    fn is_idle(&self) -> bool {
        let used = self.shared.used.swap(false, Ordering::SeqCst);
        !used && self.shared.well.load(Ordering::SeqCst) == 0
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
        self.0.used();
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

/// A connection that ends when its line is cut, or idle.
#[derive(Debug)]
pub(super) struct Severable<I> {
    io: I,
    line: Line,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    look: Pin<Box<Sleep>>,
    open: Open,
}

impl<I> Severable<I> {
    pub(super) fn new(io: I, connections: &Connections) -> Self {
        let line = Line::default();
        let cut = Box::pin(line.shared.cut.clone().cancelled_owned());
        Self { io, line, cut, look: Box::pin(sleep(IDLE)), open: connections.open() }
    }

    /// Whether it is over; wakes the task when it is. Only for a connection on which nothing is to be read.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        while self.look.as_mut().poll(cx).is_ready() {
            if self.line.is_idle() {
                self.open.idle();
                self.line.shared.cut.cancel();
                break;
            }
            self.look.as_mut().reset(Instant::now() + IDLE);
        }
        self.cut.as_mut().poll(cx).is_ready()
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
        if read.is_pending() && self.is_over(cx) {
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
        let mut io = Severable::new(near, &Connections::default());
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
        let mut io = Severable::new(near, &Connections::default());
        drop(io.line.share());
        io.write_all(b"x").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_stream_is_closed_and_one_with_a_stream_is_not() {
        let (near, _far) = tokio::io::duplex(64);
        let connections = Connections::default();
        let mut io = Severable::new(near, &connections);
        let share = io.line.share();
        let mut reading = Box::pin(io.read_u8());
        assert!(tokio::time::timeout(Duration::from_secs(3600), &mut reading).await.is_err(), "it has one");
        drop(share);
        assert!(tokio::time::timeout(IDLE - Duration::from_secs(1), &mut reading).await.is_err(), "just now");
        let start = Instant::now();
        assert_eq!(reading.await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(start.elapsed() <= IDLE + Duration::from_secs(1));
        assert_eq!(connections.counts(), (1, 1));
        drop(io);
        assert_eq!(connections.counts(), (0, 1));
    }
}
