//! The way in of one listener: what is spoken there, and who may come.
//!
//! A door looks at the first byte that a client says, so that who speaks the wrong language is told in one that it
//! understands, and shakes hands where there is TLS; both within a few seconds, or the connection ends. Neither opens
//! sockets nor accepts: whoever does calls [`Door::enter`] for each connection, each in a task of its own.
//! What holds here can be changed while it is open, for connections and streams to come.

mod connection;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;

pub use self::connection::Connection;
use self::connection::Io;
use crate::limit::Seldom;
use crate::resource::collection::Collection;
use crate::security::authorizer::{Anyone, Authorizer, Denied};
use crate::security::farewell;
use crate::security::peer::Peer;
use crate::security::tls::handshake::HandshakeError;
use crate::security::tls::server::ServerTls;
use crate::security::tls::speaks;

/// From the connection to the first byte, and to the end of a handshake: a client at the other end of the world with a
/// lossy line needs two seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// One line in so long for each reason; the metric counts them all.
const SELDOM: Duration = Duration::from_secs(10);
/// The first byte of every TLS connection: a record with a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What is spoken behind a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// gRPC, which is HTTP/2.
    Grpc,
    /// HTTP/1.1.
    Http,
}

impl Speaks {
    /// In ALPN's words.
    #[must_use]
    pub fn protocol(self) -> &'static [u8] {
        match self {
            Self::Grpc => speaks::H2,
            Self::Http => speaks::HTTP1,
        }
    }

    /// `words` for a client that speaks the wrong language, in plaintext. To one that speaks TLS anything that is not TLS
    /// says as much.
    fn refusal(self, words: &str) -> Vec<u8> {
        match self {
            Self::Http => {
                let body = format!("{{\"error\":\"{words}\"}}");
                let head =
                    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json\r\n";
                format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
            }
            Self::Grpc => {
                // SETTINGS, empty; GOAWAY: no stream was served, INADEQUATE_SECURITY, and words.
                let length = u8::try_from(8 + words.len()).unwrap_or(8);
                let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
                let goaway = [0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc];
                [&settings[..], &goaway, words.as_bytes()].concat()
            }
        }
    }
}

/// For clients; no quotes, and shorter than a frame of one byte's length.
const SPEAKS_TLS: &str = "this port speaks TLS, and the client plaintext: give it TLS settings";
const SPEAKS_PLAINTEXT: &str = "this port speaks plaintext, and the client TLS";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What all doors count.
#[derive(Debug, Clone, Default)]
pub struct DoorMetrics {
    handshakes: Counter,
    failures: Family<Reason, Counter>,
    turned_away: Counter,
}

impl DoorMetrics {
    /// Adds the metrics to `registry`, which adds the prefix `chandler_`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // From zero on, so that the first one is an increase.
        for reason in HandshakeError::REASONS {
            drop(metrics.failures.get_or_create(&Reason { reason }));
        }
        registry.register(
            "tls_handshakes",
            "TLS handshakes that came to a good end",
            metrics.handshakes.clone(),
        );
        let help = "Connections that ended before anything was said on them, by the reason";
        registry.register("tls_handshake_failures", help, metrics.failures.clone());
        let help = "Requests to the API that its rules of access refused";
        registry.register("admin_requests_refused", help, metrics.turned_away.clone());
        metrics
    }
}

/// The way in of one listener.
pub struct Door {
    speaks: Speaks,
    tls: ArcSwapOption<ServerTls>,
    access: ArcSwap<Arc<dyn Authorizer>>,
    metrics: DoorMetrics,
    patience: Duration,
    lines: Lines,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("speaks", &self.speaks).finish_non_exhaustive()
    }
}

impl Door {
    /// Plaintext, for everybody.
    #[must_use]
    pub fn open(speaks: Speaks, metrics: DoorMetrics) -> Self {
        let access: Arc<dyn Authorizer> = Arc::new(Anyone);
        Self {
            speaks,
            tls: ArcSwapOption::empty(),
            access: ArcSwap::from_pointee(access),
            metrics,
            patience: PATIENCE,
            lines: Lines::default(),
        }
    }

    /// The same door, where clients have this long.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// What holds for connections and streams to come.
    pub fn set(&self, tls: Option<Arc<ServerTls>>, access: Arc<dyn Authorizer>) {
        // Whoever comes in between the two is asked for at least as much as before.
        self.access.store(Arc::new(access));
        self.tls.store(tls);
    }

    /// What is spoken behind it.
    #[must_use]
    pub fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// TLS, if there is.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.load_full()
    }

    /// Lets a connection in, or ends it, says why, and counts it. Takes some seconds at most.
    pub async fn enter(&self, socket: TcpStream, address: SocketAddr) -> Option<Connection> {
        // A response ends in a small frame, which must not wait for the acknowledgement of the one before.
        let _gone = socket.set_nodelay(true);
        let tls = self.tls();
        let secure = tls.is_some();
        match tokio::time::timeout(self.patience, self.greet(socket, address, tls)).await {
            Ok(Ok(entered)) => entered,
            Ok(Err(error)) => {
                self.refused(&error, address);
                None
            }
            // Whoever opens a plaintext connection and is silent has only been waited for.
            Err(_) if !secure => None,
            Err(_) => {
                self.refused(&HandshakeError::Slow, address);
                None
            }
        }
    }

    /// Counts a connection that was not let in, and says so now and then.
    pub fn refused(&self, error: &HandshakeError, address: SocketAddr) {
        let reason = error.reason();
        self.metrics.failures.get_or_create(&Reason { reason }).inc();
        if let Some(left_out) = self.lines.turn(reason) {
            tracing::warn!(peer = %address, reason, left_out, "a connection was not let in: {error}");
        }
    }

    /// Counts a request that the rules refused, and says so now and then.
    pub fn turned_away(&self, peer: &Peer, denied: &Denied) {
        self.metrics.turned_away.inc();
        if let Some(left_out) = self.lines.rules.turn() {
            tracing::warn!(peer = %peer.address, left_out, "a request was refused: {denied}");
        }
    }

    async fn greet(
        &self,
        socket: TcpStream,
        address: SocketAddr,
        tls: Option<Arc<ServerTls>>,
    ) -> Result<Option<Connection>, HandshakeError> {
        let mut first = [0];
        // Health checks open a port and close it: nothing to tell anybody.
        if !matches!(socket.peek(&mut first).await, Ok(1)) {
            return Ok(None);
        }
        let secure = first == [TLS_HANDSHAKE];
        let peer = Peer::anonymous(address);
        let Some(tls) = tls else {
            if secure {
                farewell::close(socket, &self.speaks.refusal(SPEAKS_PLAINTEXT)).await;
                return Err(HandshakeError::Tls);
            }
            return Ok(Some(Connection::new(Io::Plain(socket), peer)));
        };
        if !secure {
            farewell::close(socket, &self.speaks.refusal(SPEAKS_TLS)).await;
            return Err(HandshakeError::Plaintext);
        }
        let (stream, identities) = tls.accept(socket).await?;
        self.metrics.handshakes.inc();
        Ok(Some(Connection::new(Io::Tls(Box::new(stream)), Peer { identities, ..peer })))
    }
}

/// Decides by what holds now.
impl Authorizer for Door {
    fn admit(&self, peer: &Peer) -> Result<(), Denied> {
        self.access.load().admit(peer)
    }

    fn authorize(&self, peer: &Peer, collection: Collection) -> Result<(), Denied> {
        self.access.load().authorize(peer, collection)
    }
}

/// When the next line may be written, for each reason: one that comes all the time hides no other.
#[derive(Debug)]
struct Lines {
    reasons: [(&'static str, Seldom); HandshakeError::REASONS.len()],
    rules: Seldom,
}

impl Default for Lines {
    fn default() -> Self {
        let line = || Seldom::new(SELDOM);
        Self { reasons: HandshakeError::REASONS.map(|reason| (reason, line())), rules: line() }
    }
}

impl Lines {
    /// Whether a line may be written now; then, how many were left out before it.
    fn turn(&self, reason: &str) -> Option<u64> {
        self.reasons.iter().find(|(of, _)| *of == reason).and_then(|(_, line)| line.turn())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reason_that_comes_all_the_time_hides_no_other() {
        let lines = Lines::default();
        assert_eq!([lines.turn("untrusted"), lines.turn("untrusted")], [Some(0), None]);
        assert!(
            HandshakeError::REASONS.iter().filter(|r| **r != "untrusted").all(|r| lines.turn(r) == Some(0))
        );
    }
}
