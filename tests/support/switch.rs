//! One address behind which servers are exchanged, as behind a Kubernetes Service.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes connections on. Dropping it ends them all.
#[derive(Debug)]
pub struct Switch {
    address: SocketAddr,
    to: watch::Sender<SocketAddr>,
    passed: Arc<Mutex<usize>>,
    _tasks: JoinSet<()>,
}

impl Switch {
    /// Leads to `first`.
    pub async fn start(first: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (to, target) = watch::channel(first);
        let passed = Arc::new(Mutex::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, Arc::clone(&passed)));
        Self { address, to, passed, _tasks: tasks }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads to another from now on; connections to the old one are cut.
    pub fn turn(&self, to: SocketAddr) {
        self.to.send_replace(to);
    }

    /// How many connections it has passed on.
    pub fn passed(&self) -> usize {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<SocketAddr>, passed: Arc<Mutex<usize>>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let (mut target, passed) = (target.clone(), Arc::clone(&passed));
        connections.spawn(async move {
            let to = *target.borrow_and_update();
            let Ok(mut server) = TcpStream::connect(to).await else { return };
            *passed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = target.changed() => {}
            }
        });
    }
}
