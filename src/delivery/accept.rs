//! Sockets: listening, and accepting through the listener's [`Door`].
//!
//! Each connection goes through the door in a task of its own, so that a slow one holds up nobody. How many may be at the
//! door at once is bounded: while all places are taken by clients that have just come, further ones wait in the system's
//! queue; one that has been there for a while and still is not through makes room.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tonic::transport::server::Connected;

use crate::security::door::{Connection, Door, DoorMetrics, Speaks};
use crate::security::peer::Peer;
use crate::security::tls::handshake::HandshakeError;

/// After an accept that failed (usually too many open files): trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Handshakes that are under way at once: a second's work for two cores. A thousand control planes that come back
/// together find room.
const PENDING: usize = 1024;
/// Whoever has been at the door for so long makes room when it is crowded.
const FAIR_SHARE: Duration = Duration::from_secs(1);

/// Connections that may wait to be accepted. After a restart all control planes come at once, and std's 128 makes the
/// system reset most of them; it takes no more of this than its own limit (4096 on Linux).
const BACKLOG: u32 = 4096;

/// An open socket that nobody is accepted on yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    door: Arc<Door>,
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

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As std and tokio do it: a restart need not wait for connections of the process before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Listener {
    /// Opens a socket on `address`; port 0 lets the system choose. Plaintext, until it is [`behind`](Self::behind) a door
    /// that says otherwise.
    ///
    /// # Errors
    /// The address cannot be listened on; the error says what to do.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let socket = listen(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let door = Arc::new(Door::open(Speaks::Grpc, DoorMetrics::default()));
        Ok(Self { socket, address, door })
    }

    /// The same socket behind `door`.
    #[must_use]
    pub fn behind(self, door: Arc<Door>) -> Self {
        Self { door, ..self }
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

    /// Connections that are through the door, as they get there; never ends, never fails.
    pub(super) fn incoming(self) -> impl Stream<Item = Result<Connection, Infallible>> {
        futures_util::stream::unfold(Arrivals::at(self, PENDING, FAIR_SHARE), |mut arrivals| async {
            let connection = arrivals.next().await;
            Some((Ok(connection), arrivals))
        })
    }
}

/// Who is at the door.
struct Arrivals {
    listener: Listener,
    pending: JoinSet<Option<Connection>>,
    /// In the order in which they came, some gone by now.
    order: VecDeque<Arrival>,
    /// So many at once.
    most: usize,
    /// Whoever has been there for so long makes room.
    share: Duration,
}

struct Arrival {
    since: Instant,
    address: SocketAddr,
    task: AbortHandle,
}

impl Arrivals {
    fn at(listener: Listener, most: usize, share: Duration) -> Self {
        Self { listener, pending: JoinSet::new(), order: VecDeque::new(), most, share }
    }

    async fn next(&mut self) -> Connection {
        loop {
            let crowded = self.pending.len() >= self.most;
            let share = self.share;
            let fair = self.oldest().map(|arrival| arrival.since + share);
            tokio::select! {
                Some(through) = self.pending.join_next() => {
                    // Neither in a panic nor in one that made room is there a connection.
                    if let Ok(Some(connection)) = through {
                        return connection;
                    }
                }
                accepted = self.listener.socket.accept(), if !crowded => self.arrived(accepted).await,
                () = at(fair), if crowded => self.make_room(),
            }
        }
    }

    async fn arrived(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((socket, address)) => {
                let door = Arc::clone(&self.listener.door);
                let task = self.pending.spawn(async move { door.enter(socket, address).await });
                self.order.push_back(Arrival { since: Instant::now(), address, task });
                if self.order.len() > 2 * self.most {
                    self.order.retain(|arrival| !arrival.task.is_finished());
                }
            }
            Err(error) if is_of_one_connection(error.kind()) => {}
            Err(error) => {
                tracing::warn!(address = %self.listener.address, %error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Who has been at the door for longest.
    fn oldest(&mut self) -> Option<&Arrival> {
        while self.order.front().is_some_and(|arrival| arrival.task.is_finished()) {
            self.order.pop_front();
        }
        self.order.front()
    }

    fn make_room(&mut self) {
        let somebody = self.oldest().is_some();
        if let Some(slowest) = self.order.pop_front().filter(|_| somebody) {
            slowest.task.abort();
            self.listener.door.refused(&HandshakeError::Crowded, slowest.address);
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// The peer hung up before we came to it.
fn is_of_one_connection(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(kind, K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::NotConnected)
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer().clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn in_a_crowd_the_slowest_makes_room() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let mut arrivals = Arrivals::at(listener, 2, Duration::from_millis(20));
        let mut slow = Vec::new();
        for _ in 0..2 {
            slow.push(TcpStream::connect(address).await.unwrap());
        }
        let mut quick = TcpStream::connect(address).await.unwrap();
        quick.write_all(b"P").await.unwrap();
        let through = arrivals.next().await;
        assert_eq!(through.peer().address, quick.local_addr().unwrap());
        // The first of those who say nothing is gone.
        assert_eq!(slow[0].read(&mut [0]).await.unwrap_or(0), 0);
    }
}
