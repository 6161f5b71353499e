//! Where a server runs: among the host's own addresses, or in a network namespace. And how it is reached there.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpSocket;
use tokio::process::Command;

use super::http::{Answer, Ask};
use super::netns::NetNs;

/// Below the range from which Linux usually takes ports for outgoing connections.
const FIRST_PORT: u16 = 15_200;
const PORTS: u16 = 16_000;

/// A loopback port that nothing listens on, and that nobody but whom it is given to will: it stays taken until this process
/// ends, by a socket that does not listen. Such a one keeps out outgoing connections and whoever looks for a free port, but
/// no server that sets `SO_REUSEADDR`, as all servers do that are to come back after a restart. Who connects is refused.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static HELD: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    // Test binaries that run at the same time begin in different places.
    let start =
        u16::try_from(std::process::id() * 101 % u32::from(PORTS)).expect("less than the number of ports");
    for _ in 0..PORTS {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT
            + u16::try_from((u32::from(start) + u32::from(offset)) % u32::from(PORTS)).expect("a port");
        if let Ok(socket) = hold(port) {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
            return port;
        }
    }
    panic!("no free port between {FIRST_PORT} and {}", FIRST_PORT + PORTS);
}

/// Takes a port that nobody has, and then lets those in who ask for it with `SO_REUSEADDR`.
fn hold(port: u16) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // On all addresses: some servers listen on every one.
    socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

/// [`free_port`] on 127.0.0.1.
pub fn free_address() -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port()))
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
        self.ask(address, Ask::get(path)).await
    }

    /// One POST without a body.
    pub async fn post(&self, address: SocketAddr, path: &str) -> Option<Answer> {
        self.ask(address, Ask::new("POST", path)).await
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
