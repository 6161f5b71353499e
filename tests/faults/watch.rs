//! The eyes: each tells the ledger every state that it sees. They outlive what they look at, and look again when it is back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chandler::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use chandler::proto::discovery::{DiscoveryRequest, DiscoveryResponse};
use chandler::proto::{core, mcp, networking};
use prost::Message as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::ledger::{Ledger, Seat};
use crate::sites::PORT;
use crate::support::{Place, Sidecar};

/// What Chandler tells: every response of a stream.
pub(crate) const WIRE: &str = "wire";
/// What istiod tells sidecars: every response of a stream.
pub(crate) const ISTIOD: &str = "istiod";
/// What Envoy balances over, looked at ten times a second.
pub(crate) const ENVOY: &str = "envoy";
/// Those that every row waits for.
pub(crate) const ALL: [&str; 3] = [WIRE, ISTIOD, ENVOY];

/// The pause before somebody who is not there is dialled again.
const AGAIN: Duration = Duration::from_millis(100);
const SERVICE_ENTRY: &str = "networking.istio.io/v1alpha3/ServiceEntry";
/// How long a call may take: longer than anything but a service that is gone.
const CALL: Duration = Duration::from_secs(60);
/// How often each service is called.
const EVERY: Duration = Duration::from_millis(200);

// ---- Chandler's wire ----

/// Watches the entries that Chandler at `server` serves, for ever.
pub(crate) async fn wire(server: SocketAddr, ledger: Arc<Ledger>) {
    loop {
        if let Ok(channel) = dial(server).await {
            let _ended = follow(channel, |seats| ledger.saw(WIRE, seats)).await;
        }
        ledger.blind(WIRE);
        tokio::time::sleep(AGAIN).await;
    }
}

/// So many streams on one connection, for ever; each is counted in `whole` whenever it is told everything anew.
pub(crate) async fn crowd(
    server: SocketAddr,
    names: Vec<&'static str>,
    whole: Arc<AtomicUsize>,
    ledger: Arc<Ledger>,
) {
    let Ok(endpoint) = Endpoint::try_from(format!("http://{server}")) else { return };
    // It dials again by itself.
    let channel = endpoint.connect_lazy();
    let mut streams = JoinSet::new();
    for name in names {
        streams.spawn(one_of_many(channel.clone(), name, Arc::clone(&whole), Arc::clone(&ledger)));
    }
    while streams.join_next().await.is_some() {}
}

async fn one_of_many(channel: Channel, name: &'static str, whole: Arc<AtomicUsize>, ledger: Arc<Ledger>) {
    loop {
        let mut told = false;
        let _ended = follow(channel.clone(), |seats| {
            if !std::mem::replace(&mut told, true) {
                whole.fetch_add(1, Ordering::Relaxed);
            }
            ledger.saw(name, seats);
        })
        .await;
        tokio::time::sleep(AGAIN).await;
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn dial(server: SocketAddr) -> Result<Channel, Failure> {
    Ok(Endpoint::try_from(format!("http://{server}"))?.connect().await?)
}

/// One stream to its end: every response is acknowledged and shown.
async fn follow(channel: Channel, mut see: impl FnMut(BTreeSet<Seat>)) -> Result<(), Failure> {
    let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let (out, requests) = mpsc::channel(8);
    let node = core::Node { id: "watcher".to_owned(), ..core::Node::default() };
    let first = DiscoveryRequest {
        node: Some(node),
        type_url: SERVICE_ENTRY.to_owned(),
        ..DiscoveryRequest::default()
    };
    out.send(first).await?;
    let mut responses = client.stream_aggregated_resources(ReceiverStream::new(requests)).await?.into_inner();
    while let Some(response) = responses.message().await? {
        see(seats(&response)?);
        let acknowledged = DiscoveryRequest {
            type_url: response.type_url,
            version_info: response.version_info,
            response_nonce: response.nonce,
            ..DiscoveryRequest::default()
        };
        out.send(acknowledged).await?;
    }
    Ok(())
}

fn seats(response: &DiscoveryResponse) -> Result<BTreeSet<Seat>, prost::DecodeError> {
    let mut seats = BTreeSet::new();
    for wrapped in &response.resources {
        let resource = mcp::Resource::decode(wrapped.value.clone())?;
        let body = resource.body.map(|body| body.value).unwrap_or_default();
        let entry = networking::ServiceEntry::decode(body)?;
        let host = entry.hosts.first().cloned().unwrap_or_default();
        let addresses = entry.endpoints.iter().filter_map(|one| one.address.parse().ok());
        seats.extend(addresses.map(|at| Seat { host: host.clone(), at }));
    }
    Ok(seats)
}

// ---- istiod ----

/// Watches what istiod at `server` tells a sidecar, for ever.
pub(crate) async fn istiod(server: SocketAddr, ledger: Arc<Ledger>, who: &'static str) {
    loop {
        let mut sidecar = Sidecar::start(&Place::Host, server, &[]);
        let mut told = Told::default();
        let mut looks = interval(Duration::from_millis(20));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let ended = sidecar.process().exited().is_some();
            while let Some(line) = sidecar.poll() {
                if let Some(seats) = told.line(&line) {
                    ledger.saw(who, seats);
                }
            }
            if ended {
                break;
            }
        }
        ledger.blind(who);
        tokio::time::sleep(AGAIN).await;
    }
}

/// What a sidecar has been told on one stream.
#[derive(Debug, Default)]
struct Told {
    clusters: BTreeSet<String>,
    endpoints: BTreeMap<String, BTreeSet<Ipv4Addr>>,
}

impl Told {
    /// All that is told after this line, if that is a whole picture: endpoints follow their cluster.
    fn line(&mut self, line: &Value) -> Option<BTreeSet<Seat>> {
        let detail = line["detail"].as_array()?;
        match line["type"].as_str()? {
            "CDS" => {
                let names = detail.iter().filter_map(|one| one["name"].as_str());
                self.clusters = names.filter(|name| host_of(name).is_some()).map(str::to_owned).collect();
                self.endpoints.retain(|name, _| self.clusters.contains(name));
            }
            "EDS" => {
                for one in detail {
                    let at = |e: &Value| e["address"].as_str()?.parse().ok();
                    let endpoints = one["endpoints"].as_array()?.iter().filter_map(at).collect();
                    self.endpoints.insert(one["cluster"].as_str()?.to_owned(), endpoints);
                }
            }
            _ => return None,
        }
        let known = self.clusters.iter().all(|name| self.endpoints.contains_key(name));
        (known && !self.clusters.is_empty()).then(|| {
            let shown = self.endpoints.iter().filter(|(name, _)| self.clusters.contains(*name));
            shown.flat_map(|(name, all)| all.iter().filter_map(|at| seat(name, *at))).collect()
        })
    }
}

/// The host of one of our clusters, `outbound|9090||web.files`.
fn host_of(cluster: &str) -> Option<&str> {
    cluster.strip_prefix(&format!("outbound|{PORT}||"))
}

fn seat(cluster: &str, at: Ipv4Addr) -> Option<Seat> {
    Some(Seat { host: host_of(cluster)?.to_owned(), at })
}

// ---- Envoy ----

/// Looks at the clusters of the Envoy with this admin address, for ever.
pub(crate) async fn envoy(admin: SocketAddr, ledger: Arc<Ledger>) {
    let mut looks = interval(Duration::from_millis(100));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let answer = Place::Host.get(admin, "/clusters?format=json").await;
        let page = answer.and_then(|answer| serde_json::from_str::<Value>(&answer.body).ok());
        if let Some(page) = page {
            ledger.saw(ENVOY, balanced(&page));
        }
    }
}

fn balanced(page: &Value) -> BTreeSet<Seat> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut seats = BTreeSet::new();
    for cluster in list(&page["cluster_statuses"]) {
        let name = cluster["name"].as_str().unwrap_or_default();
        for host in list(&cluster["host_statuses"]) {
            let at = host["address"]["socket_address"]["address"].as_str().and_then(|at| at.parse().ok());
            seats.extend(at.and_then(|at| seat(name, at)));
        }
    }
    seats
}

// ---- calls ----

/// Every instance of every service: it answers with the address that it was reached at.
pub(crate) async fn instances() -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                calls.spawn(answer(stream));
            }
            Some(_) = calls.join_next() => {}
        }
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let name = stream.local_addr()?.ip().to_string();
    let mut asked = Vec::new();
    // The proxy keeps connections; requests have no bodies.
    while stream.read_buf(&mut asked).await? > 0 {
        while let Some(end) = asked.windows(4).position(|four| four == b"\r\n\r\n") {
            asked.drain(..end + 4);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
            stream.write_all(head.as_bytes()).await?;
        }
    }
    Ok(())
}

/// What became of the calls.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    made: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Calls {
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// How many have failed so far.
    pub(crate) fn failed(&self) -> usize {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Why calls failed since this was asked last.
    pub(crate) fn take_failed(&self) -> Vec<String> {
        std::mem::take(&mut self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Calls `host` at its virtual address, for ever: each time as a new client.
pub(crate) async fn call(host: String, at: Ipv4Addr, calls: Arc<Calls>, ledger: Arc<Ledger>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let outcome = match timeout(CALL, one_call(&host, at)).await {
            Err(_) => Err(format!("no answer within {CALL:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(text)) => match text.rsplit("\r\n\r\n").next().and_then(|body| body.trim().parse().ok()) {
                Some(by) if text.starts_with("HTTP/1.1 200") && ledger.may_answer(&host, by) => Ok(()),
                _ => Err(format!("answered: {text:.300}")),
            },
        };
        if let Err(why) = outcome {
            calls.failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{host}: {why}"));
        }
        calls.made.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) async fn one_call(host: &str, at: Ipv4Addr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((at, PORT)).await?;
    let request = format!("GET / HTTP/1.1\r\nhost: {host}:{PORT}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}
