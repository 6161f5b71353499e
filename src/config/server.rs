//! `server`: where Istio pulls, and what one peer may send.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::dial;
use super::limits;
use super::listen::{self, Access, Entrance, Socket};
use crate::delivery::Sink;
use crate::limit::Limits;
use crate::yaml::fields::Fields;

/// Where Istio pulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Every wire is spoken on each of them. Never empty.
    pub listeners: Vec<Listener>,
    /// How much one peer may take.
    pub limits: Limits,
    /// Control planes that we dial. Each address once.
    pub dial: Vec<Sink>,
}

/// A socket on which every wire is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Port 0: the system chooses one.
    pub address: SocketAddr,
    /// TLS, and who may come.
    pub entrance: Entrance,
}

/// Beside telemetry and admin, and no port of Istio's.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9901";

/// A server and the places of its addresses.
pub(super) struct Decoded {
    pub(super) value: Server,
    pub(super) sockets: Vec<Socket>,
}

impl Server {
    pub(super) fn decode(mut f: Fields<'_, '_>, base: &Path) -> Decoded {
        let found: Vec<(Listener, Socket)> = match f.entry("listeners").map(|e| &e.value) {
            Some(node) if node.list().is_some_and(<[_]>::is_empty) => {
                f.findings()
                    .push(node.fault("no listener: leave `listeners` out to listen on 127.0.0.1:9901"));
                Vec::new()
            }
            Some(_) => {
                let sections = f.sections("listeners").unwrap_or_default();
                sections.into_iter().filter_map(|section| Listener::decode(section, base)).collect()
            }
            None => Listener::default_one().into_iter().collect(),
        };
        let limits = limits::decode(f.section("limits"));
        let dial = dial::decode(f.section("mcp"), base);
        let (listeners, sockets) = found.into_iter().unzip();
        Decoded { value: Self { listeners, limits, dial }, sockets }
    }

    pub(super) fn shown(&self) -> Value {
        let listeners: Vec<Value> =
            self.listeners.iter().map(|l| listen::shown("address", l.address, &l.entrance)).collect();
        json!({ "listeners": listeners, "limits": limits::shown(&self.limits), "mcp": dial::shown(&self.dial) })
    }
}

impl Listener {
    fn decode(mut f: Fields<'_, '_>, base: &Path) -> Option<(Self, Socket)> {
        if f.is_void() {
            return None;
        }
        let socket = f.need("address", |n| listen::read_socket(n, "server"));
        let entrance = listen::entrance(&mut f, socket, base);
        socket.map(|s| (Self { address: s.address, entrance }, s))
    }

    fn default_one() -> Option<(Self, Socket)> {
        let address = DEFAULT_ADDRESS.parse().ok()?;
        let socket = Socket { at: crate::yaml::Position::NOWHERE, what: "server, by default", address };
        Some((Self { address, entrance: Entrance { tls: None, access: Access::Local } }, socket))
    }
}
