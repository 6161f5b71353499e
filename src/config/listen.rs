//! Addresses to listen on, and who may come: the rules that all listeners share.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::yaml::fields::{Fields, Findings};
use crate::yaml::{Entry, Fault, Node, Position, Value as Yaml};

/// Who may speak to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing is said, and nothing need be: only this machine reaches loopback.
    Local,
    /// `access: open`: whoever reaches it, said on purpose.
    Open,
}

/// A socket somebody wants, for telling two of them apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Socket {
    /// Where that was written; nowhere for a default.
    pub(super) at: Position,
    /// What it is for.
    pub(super) what: &'static str,
    pub(super) address: SocketAddr,
}

/// A part of the configuration with one socket.
#[derive(Debug)]
pub(super) struct WithSocket<T> {
    pub(super) value: T,
    pub(super) socket: Option<Socket>,
}

/// Reads the address under `key`; `default` where none is written.
pub(super) fn address(
    f: &mut Fields<'_, '_>,
    key: &'static str,
    what: &'static str,
    default: &str,
) -> Option<Socket> {
    match f.take(key) {
        Some(node) => f.findings().note(read_socket(node, what)),
        None => Some(Socket { at: Position::NOWHERE, what, address: default.parse().ok()? }),
    }
}

/// Reads an address for `what`.
pub(super) fn read_socket(node: &Node, what: &'static str) -> Result<Socket, Fault> {
    Ok(Socket { at: node.at, what, address: read_address(node)? })
}

/// Reads `access` beside an address; off loopback it must be there.
pub(super) fn access(f: &mut Fields<'_, '_>, socket: Option<Socket>) -> Access {
    let entry = f.entry("access");
    if let Some(entry) = entry {
        return f.findings().note(read_access(entry)).unwrap_or(Access::Open);
    }
    if let Some(socket) = socket.filter(|s| !s.address.ip().to_canonical().is_loopback()) {
        let words = format!(
            "{} can be reached from other machines: write `access: open` beside it to let in whoever reaches it, or listen on 127.0.0.1",
            socket.address
        );
        f.findings().push(Fault::new(socket.at, words));
    }
    Access::Local
}

/// Faults of sockets of which the system would give only one.
pub(super) fn check_distinct<'a>(sockets: impl Iterator<Item = &'a Socket>, findings: &Findings) {
    let mut seen: Vec<&Socket> = Vec::new();
    for socket in sockets {
        if let Some(other) = seen.iter().find(|o| collide(o.address, socket.address)) {
            // A default has no place, so what was written is to blame.
            let at = if socket.at == Position::NOWHERE { other.at } else { socket.at };
            let words = format!(
                "{} ({}) and {} ({}) cannot both be listened on: change one of the ports",
                socket.address, socket.what, other.address, other.what
            );
            findings.push(Fault::new(at, words));
        }
        seen.push(socket);
    }
}

/// `listen` and, if it was said, `access`.
pub(super) fn shown(key: &str, address: SocketAddr, access: Access) -> Value {
    match access {
        Access::Local => json!({ key: address.to_string() }),
        Access::Open => json!({ key: address.to_string(), "access": "open" }),
    }
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    // 0 lets the system choose; `::` takes the IPv4 port as well.
    let wide = |s: SocketAddr| s.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || wide(a) || wide(b))
}

fn read_address(node: &Node) -> Result<SocketAddr, Fault> {
    const WANTED: &str = "an IP address and a port, such as `127.0.0.1:9901`";
    let text = node.text().map_err(|_| node.expected(WANTED))?;
    text.parse().map_err(|_| {
        let fault = node.expected(WANTED);
        let port = text.rsplit(':').next().filter(|p| p.parse::<u16>().is_ok());
        let instead = match (port, text.rsplit_once(':').map_or("", |(host, _)| host)) {
            (Some(port), "localhost") => format!("127.0.0.1:{port}"),
            (Some(port), "" | "*") => format!("0.0.0.0:{port}"),
            _ => return fault,
        };
        Fault { message: format!("{}: did you mean `{instead}`?", fault.message), ..fault }
    })
}

fn read_access(entry: &Entry) -> Result<Access, Fault> {
    match &entry.value.value {
        Yaml::List(_) => {
            Err(entry.value.fault("access rules are not available in this version: only `open` is"))
        }
        _ => entry.value.choice(&[("open", Access::Open)]),
    }
}
