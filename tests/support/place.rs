//! Where a server runs: among the host's own addresses, or in a network namespace. And how it is reached there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::need::Need;
use super::netns::NetNs;

/// Below the range from which Linux takes ports for outgoing connections, so that none is taken between our look and the
/// server's bind.
const FIRST_PORT: u16 = 15_200;
const PORTS: u16 = 16_000;

/// A loopback port that nothing listens on and that no other test of this process was given.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time begin in different places.
    let start =
        u16::try_from(std::process::id() * 101 % u32::from(PORTS)).expect("less than the number of ports");
    for _ in 0..PORTS {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT
            + u16::try_from((u32::from(start) + u32::from(offset)) % u32::from(PORTS)).expect("a port");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST_PORT} and {}", FIRST_PORT + PORTS);
}

/// [`free_port`] on 127.0.0.1.
pub fn free_address() -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port()))
}

/// What an HTTP server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}), status {}: {:.500}", self.status, self.body))
    }
}

/// Where processes run. Cheap to clone; a namespace lives as long as its last clone.
#[derive(Debug, Clone, Default)]
pub enum Place {
    #[default]
    Host,
    Namespace(Arc<NetNs>),
}

impl Place {
    /// A command that will run here.
    pub fn command(&self, program: &Path) -> Command {
        match self {
            Self::Host => Command::new(program),
            Self::Namespace(namespace) => {
                // nsenter becomes the program: the process id stays the one that we know.
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/proc/{}/ns/net", namespace.pid())).arg("--").arg(program);
                command
            }
        }
    }

    /// One GET; nothing if no answer came.
    pub async fn get(&self, address: SocketAddr, path: &str) -> Option<Answer> {
        self.request("GET", address, path).await
    }

    /// One POST without a body.
    pub async fn post(&self, address: SocketAddr, path: &str) -> Option<Answer> {
        self.request("POST", address, path).await
    }

    async fn request(&self, method: &'static str, address: SocketAddr, path: &str) -> Option<Answer> {
        match self {
            Self::Host => {
                let path = path.to_owned();
                let exchange = tokio::task::spawn_blocking(move || exchange(method, address, &path));
                exchange.await.expect("it does not panic").ok()
            }
            Self::Namespace(_) => {
                let mut command = self.command(&Need::Probe.program());
                command.args(["call", "-method", method, "-url", &format!("http://{address}{path}")]);
                command.kill_on_drop(true);
                let output = command.output().await.expect("the probe runs");
                let line: Value = serde_json::from_slice(&output.stdout).ok()?;
                let status = u16::try_from(line["status"].as_u64()?).ok()?;
                Some(Answer { status, body: line["body"].as_str()?.to_owned() })
            }
        }
    }

    /// Whether something listens there.
    pub async fn listens(&self, address: SocketAddr) -> bool {
        match self {
            Self::Host => tokio::net::TcpStream::connect(address).await.is_ok(),
            Self::Namespace(_) => {
                // The namespace's own table of sockets says it without a connection.
                let mut command = self.command(Path::new("cat"));
                let output = command.arg("/proc/net/tcp").output().await.expect("cat runs");
                let wanted = format!(":{:04X} 00000000:0000 0A ", address.port());
                String::from_utf8_lossy(&output.stdout).contains(&wanted)
            }
        }
    }
}

/// HTTP/1.1 by hand: a client library would hide what the server did.
fn exchange(method: &str, address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    let limit = Duration::from_secs(20);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| std::io::Error::other("not an HTTP answer"))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body)? } else { body.to_vec() };
    Some(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length =
            usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim(), 16)
                .ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 2 + length + 2..)?;
    }
}
