//! Addresses to listen on, TLS, and who may come: the rules that all listeners share.

mod access;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::security::access::{Condition, Rule};
use crate::security::tls::server::ServerFiles;
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::{Fault, Node, Position};

/// Who may speak to a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing is said, and nothing need be: only this machine reaches loopback.
    Local,
    /// `access: open`: whoever reaches it, said on purpose.
    Open,
    /// Whom the first rule that knows him lets in. Never empty.
    Rules(Vec<Rule>),
}

/// How one gets in: what is spoken, and who may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// `None`: plaintext.
    pub tls: Option<ServerFiles>,
    /// Who may come.
    pub access: Access,
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

/// Reads `tls` and `access` beside an address.
pub(super) fn entrance(f: &mut Fields<'_, '_>, socket: Option<Socket>, base: &Path) -> Entrance {
    // Elsewhere a key with nothing after it is a default; whoever writes this one does not mean plaintext.
    if let Some(at) = f.blank("tls") {
        let words =
            "nothing is written after `tls`: name `certFile` and `keyFile`, or leave it out for plaintext";
        f.findings().push(Fault::new(at, words));
    }
    Entrance { tls: tls::read(f.section("tls"), base), access: access(f, socket, base) }
}

/// Reads `access`; off loopback it must be there.
fn access(f: &mut Fields<'_, '_>, socket: Option<Socket>, base: &Path) -> Access {
    if let Some(entry) = f.entry("access") {
        return access::read(f, entry, base);
    }
    if let Some(socket) = socket.filter(|s| !s.address.ip().to_canonical().is_loopback()) {
        let words = format!(
            "{} can be reached from other machines: write rules of `access` beside it, or `access: open` to let in whoever \
             reaches it, or listen on 127.0.0.1",
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

/// The address under `key` and, as far as they were said, `tls` and `access`.
pub(super) fn shown(key: &str, address: SocketAddr, entrance: &Entrance) -> Value {
    let mut shown = json!({ key: address.to_string() });
    let Some(map) = shown.as_object_mut() else { return shown };
    if let Some(files) = &entrance.tls {
        map.insert("tls".into(), tls::shown(files));
    }
    match &entrance.access {
        Access::Local => {}
        Access::Open => drop(map.insert("access".into(), json!("open"))),
        Access::Rules(rules) => drop(map.insert("access".into(), access::shown(rules))),
    }
    shown
}

impl Entrance {
    /// What is right and hardly meant, in words; `address`: where it is.
    #[must_use]
    pub fn doubts(&self, address: SocketAddr) -> Vec<String> {
        let Access::Rules(rules) = &self.access else { return Vec::new() };
        let mut doubts = Vec::new();
        let has = |wanted: fn(&Condition) -> bool| {
            rules.iter().any(|rule| matches!(rule, Rule::Grant { from, .. } if from.iter().any(wanted)))
        };
        let lists = rules.iter().any(|rule| matches!(rule, Rule::AccessList(_)));
        let certificates = lists
            || has(|c| matches!(c, Condition::Spiffe(_) | Condition::Dns(_) | Condition::AnyCertificate));
        if certificates && self.tls.as_ref().is_none_or(|tls| tls.clients.is_none()) {
            doubts.push("rules ask for certificates, and without `tls.clientCaFile` nobody shows one".into());
        }
        let tokens = has(|c| matches!(c, Condition::TokenFile(_)));
        if tokens && self.tls.is_none() && !address.ip().to_canonical().is_loopback() {
            doubts.push("tokens travel without TLS: whoever listens on the way can use them".into());
        }
        let all = |rule: &Rule| matches!(rule, Rule::Grant { from, .. } if *from == [Condition::AnyPeer]);
        if let Some(first) = rules.iter().position(all).filter(|first| first + 1 < rules.len()) {
            doubts.push(format!("rule {} is about everybody: those after it decide nothing", first + 1));
        }
        doubts
    }
}

/// Reads a path, relative to `base`.
fn path(node: &Node, base: &Path) -> Result<PathBuf, Fault> {
    match node.text()? {
        "" => Err(node.fault("must not be empty: write the path of a file")),
        text => Ok(base.join(text)),
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
