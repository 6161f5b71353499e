//! Servers older than 3.6, which know no recursive watches. A go-between answers for a newer one as they do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chandler::runtime::supervise::Owned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::support::ZooKeeper;
use crate::world::{EPHEMERAL, Watches, World, Writer, provider, settings};

/// The number of the request that came with 3.6.
const ADD_WATCH: u32 = 106;
/// What older servers answer to a request that they do not know.
const UNIMPLEMENTED: i32 = -6;

/// Stands before `server`; how often it refused.
async fn old(server: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>, Owned) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, refused) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&refused);
    let task = Owned::spawn(async move {
        let mut running = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(server).await.unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let near_out = Arc::new(Mutex::new(near_out));
            running.spawn(answers(far_in, Arc::clone(&near_out)));
            running.spawn(requests(near_in, far_out, near_out, Arc::clone(&count)));
        }
    });
    (at, refused, task)
}

/// A packet with its length before it.
async fn packet(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = from.read_u32().await.ok()?;
    let mut packet = length.to_be_bytes().to_vec();
    packet.resize(4 + usize::try_from(length).unwrap(), 0);
    from.read_exact(&mut packet[4..]).await.ok()?;
    Some(packet)
}

async fn answers(mut from: OwnedReadHalf, to: Arc<Mutex<OwnedWriteHalf>>) {
    while let Some(packet) = packet(&mut from).await {
        if to.lock().await.write_all(&packet).await.is_err() {
            return;
        }
    }
    drop(to.lock().await.shutdown().await);
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    back: Arc<Mutex<OwnedWriteHalf>>,
    refused: Arc<AtomicUsize>,
) {
    let mut first = true;
    while let Some(packet) = packet(&mut from).await {
        // The first one opens the session and has no number.
        if !first && packet.get(8..12) == Some(&ADD_WATCH.to_be_bytes()) {
            refused.fetch_add(1, Ordering::Relaxed);
            let body = [&packet[4..8], &0_u64.to_be_bytes(), &UNIMPLEMENTED.to_be_bytes()].concat();
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            back.lock().await.write_all(&[&length[..], &body].concat()).await.unwrap();
        } else if to.write_all(&packet).await.is_err() {
            return;
        }
        first = false;
    }
}

#[tokio::test]
async fn a_server_without_recursive_watches_is_found_out_and_followed_by_others() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.1:1", ""), "", &EPHEMERAL).await;
    let (at, refused, _between) = old(server.address()).await;
    let mut settings = settings(&[&server]);
    settings.connect.servers = vec![at.to_string()];
    let mut world = World::start(settings, Watches::Recursive);
    world.until("a read", |w| w.resets == 1).await;
    assert_eq!(world.how().failures, 1, "one life was enough to find out");
    // Two nodes, one after the other: the watch that the first one used up is set again.
    for host in ["10.0.0.2:1", "10.0.0.3:1"] {
        let count = world.endpoints("/dubbo/a.A").len();
        writer.put(&provider("a.A", host, ""), "", &EPHEMERAL).await;
        world.until(host, |w| w.endpoints("/dubbo/a.A").len() == count + 1).await;
    }
    let json = r#"{"address":"10.0.0.9","port":80,"payload":null}"#;
    writer.put("/services/s/1", json, &EPHEMERAL).await;
    world.until("a root that was not there", |w| w.services.contains_key("/services#s")).await;
    assert_eq!((refused.load(Ordering::Relaxed), world.resets), (1, 1), "nobody asked again");
}
