//! `telemetry` (health and metrics, nothing secret) and `admin` (the API).

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::listen::{self, Entrance, WithSocket};
use crate::yaml::fields::Fields;

/// Health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// May lie off loopback without further words: kubelet and Prometheus come from elsewhere, and nothing here is secret.
    pub listen: SocketAddr,
}

/// The API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where.
    pub listen: SocketAddr,
    /// TLS, and who may come.
    pub entrance: Entrance,
}

const TELEMETRY: &str = "127.0.0.1:9902";
const ADMIN: &str = "127.0.0.1:9903";

/// Stands for an address that was refused; the configuration is then refused as a whole.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

impl Telemetry {
    pub(super) fn decode(mut f: Fields<'_, '_>) -> WithSocket<Self> {
        let socket = listen::address(&mut f, "listen", "telemetry", TELEMETRY);
        let value = Self { listen: socket.map_or(NO_ADDRESS, |s| s.address) };
        WithSocket { value, socket }
    }

    pub(super) fn shown(&self) -> Value {
        json!({ "listen": self.listen.to_string() })
    }
}

impl Admin {
    pub(super) fn decode(mut f: Fields<'_, '_>, base: &Path) -> WithSocket<Self> {
        let socket = listen::address(&mut f, "listen", "admin", ADMIN);
        let entrance = listen::entrance(&mut f, socket, base);
        let value = Self { listen: socket.map_or(NO_ADDRESS, |s| s.address), entrance };
        WithSocket { value, socket }
    }

    pub(super) fn shown(&self) -> Value {
        listen::shown("listen", self.listen, &self.entrance)
    }
}
