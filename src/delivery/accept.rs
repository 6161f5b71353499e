//! Sockets: listening, accepting, and what is known of a peer before it has said anything.
//!
//! TLS comes in between here: a handshake of its own for each connection, with a time-out, in a task of its own so that
//! a slow one holds up nobody; what it proves goes into [`Peer`].

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::Connected;

use crate::security::peer::Peer;

/// After an accept that failed (usually too many open files): trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An open socket that nobody is accepted on yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {}", advice(source.kind()))]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another address or port",
        io::ErrorKind::AddrNotAvailable => "choose an address that this machine has, or 0.0.0.0 for all",
        io::ErrorKind::PermissionDenied => "choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE",
        _ => "choose another address or port",
    }
}

impl Listener {
    /// Opens a socket on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// The address cannot be listened on; the error says what to do.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bare socket, for who speaks something else on it.
    #[must_use]
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }

    /// Connections as they come; never ends, never fails.
    pub(super) fn incoming(self) -> impl Stream<Item = Result<Connection, Infallible>> {
        futures_util::stream::unfold(self, |listener| async {
            loop {
                match listener.socket.accept().await.and_then(|(io, peer)| Connection::new(io, peer)) {
                    Ok(connection) => return Some((Ok(connection), listener)),
                    Err(error) if is_of_one_connection(error.kind()) => {}
                    Err(error) => {
                        tracing::warn!(address = %listener.address, %error, "accepting a connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        })
    }
}

/// The peer hung up before we came to it.
fn is_of_one_connection(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(kind, K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::NotConnected)
}

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Connection {
    io: TcpStream,
    peer: Peer,
}

impl Connection {
    fn new(io: TcpStream, address: SocketAddr) -> io::Result<Self> {
        // A response ends in a small frame, which must not wait for the acknowledgement of the one before.
        io.set_nodelay(true)?;
        Ok(Self { io, peer: Peer::anonymous(address) })
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
