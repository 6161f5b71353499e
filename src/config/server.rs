//! `server`: where Istio pulls, and what one peer may send.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::listen::{self, Access, Socket};
use super::units;
use crate::yaml::fields::Fields;

/// Where Istio pulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Every wire is spoken on each of them. Never empty.
    pub listeners: Vec<Listener>,
    /// What one peer may do.
    pub limits: Limits,
}

/// A socket on which every wire is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Port 0: the system chooses one.
    pub address: SocketAddr,
    /// Who may come.
    pub access: Access,
}

/// What one peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message that is received, in bytes.
    pub message_size: u32,
}

/// Beside telemetry and admin, and no port of Istio's.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9901";

impl Default for Limits {
    /// A reconnect over delta names all it has: 100,000 resources are about 10 MB.
    fn default() -> Self {
        Self { message_size: 16 << 20 }
    }
}

/// A server and the places of its addresses.
pub(super) struct Decoded {
    pub(super) value: Server,
    pub(super) sockets: Vec<Socket>,
}

impl Server {
    pub(super) fn decode(mut f: Fields<'_, '_>) -> Decoded {
        f.later(&["mcp"]);
        let found: Vec<(Listener, Socket)> = match f.entry("listeners").map(|e| &e.value) {
            Some(node) if node.list().is_some_and(<[_]>::is_empty) => {
                f.findings()
                    .push(node.fault("no listener: leave `listeners` out to listen on 127.0.0.1:9901"));
                Vec::new()
            }
            Some(_) => f.sections("listeners").into_iter().flatten().filter_map(Listener::decode).collect(),
            None => Listener::default_one().into_iter().collect(),
        };
        let limits = Limits::decode(f.section("limits"));
        let (listeners, sockets) = found.into_iter().unzip();
        Decoded { value: Self { listeners, limits }, sockets }
    }

    pub(super) fn shown(&self) -> Value {
        let listeners: Vec<Value> =
            self.listeners.iter().map(|l| listen::shown("address", l.address, l.access)).collect();
        json!({
            "listeners": listeners,
            "limits": { "messageSize": units::show_size(self.limits.message_size.into()) },
        })
    }
}

impl Listener {
    fn decode(mut f: Fields<'_, '_>) -> Option<(Self, Socket)> {
        f.later(&["tls"]);
        if f.is_void() {
            return None;
        }
        let socket = f.need("address", |n| listen::read_socket(n, "server"));
        let access = listen::access(&mut f, socket);
        socket.map(|s| (Self { address: s.address, access }, s))
    }

    fn default_one() -> Option<(Self, Socket)> {
        let address = DEFAULT_ADDRESS.parse().ok()?;
        let socket = Socket { at: crate::yaml::Position::NOWHERE, what: "server, by default", address };
        Some((Self { address, access: Access::Local }, socket))
    }
}

impl Limits {
    fn decode(mut f: Fields<'_, '_>) -> Self {
        f.later(&["streams", "streamsPerIdentity", "requestsPerSecond", "burst"]);
        // Less than the smallest would refuse what istiod sends; gRPC's own length has 32 bits.
        let size = f.get("messageSize", |n| units::size(n, 64 << 10, 1 << 30));
        let message_size = size.and_then(|s| u32::try_from(s).ok());
        Self { message_size: message_size.unwrap_or(Self::default().message_size) }
    }
}
