//! The program itself, as a user starts it: from start to the first complete answer with 10,000 services in files, and from
//! the rename of a services file to a control plane's acknowledgement.
//!
//! The control plane is a real istiod where `CHANDLER_ISTIOD_1_18` names one (`eval "$(tests/servers/install --env)"`),
//! otherwise a client that acknowledges at once.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench measures real time and fails by panicking"
)]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chandler::proto::core::Node;
use chandler::proto::discovery::DiscoveryRequest;
use chandler::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as Client;
use chandler::runtime::supervise::Critical;
use tokio::process::{Child, Command};
use tonic::transport::Channel;

/// Services in files when the program starts, and in how many files; and the same for the renames, small and large.
const RESTART: Size = Size { services: 10_000, files: 100 };
const SMALL: Size = Size { services: 100, files: 10 };
const RENAMES: usize = 50;
const SERVICE_ENTRY: &str = "networking.istio.io/v1/ServiceEntry";
/// `push.endpointQuiet` by default: what a change waits on purpose.
const QUIET: Duration = Duration::from_millis(100);

fn free() -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.local_addr().expect("bound")
}

/// How much there is.
#[derive(Clone, Copy)]
struct Size {
    services: usize,
    files: usize,
}

/// One of the files.
fn services(size: Size, file: usize) -> String {
    let mut text = String::from("services:\n");
    for n in 0..size.services / size.files {
        let id = file * (size.services / size.files) + n;
        let (a, b) = (id >> 8 & 255, id & 255);
        let _ = write!(
            text,
            "- name: s{id}\n  hosts: [s{id}.bench.internal]\n  ports: [{{number: 8080, protocol: HTTP}}]\n  endpoints:\n"
        );
        for e in 1..=5 {
            let _ =
                writeln!(text, "  - {{address: 10.{a}.{b}.{e}, labels: {{version: v1}}, locality: eu/a}}");
        }
    }
    text
}

fn replace(file: &Path, text: &str) -> Instant {
    let beside = file.with_extension("new~");
    std::fs::write(&beside, text).expect("a file");
    let at = Instant::now();
    std::fs::rename(beside, file).expect("a rename");
    at
}

struct Addresses {
    grpc: SocketAddr,
    admin: SocketAddr,
}

fn start(dir: &Path) -> (Child, Addresses) {
    let at = Addresses { grpc: free(), admin: free() };
    let config = format!(
        "server: {{listeners: [{{address: '{}'}}]}}\ntelemetry: {{listen: '{}'}}\nadmin: {{listen: '{}'}}\nregistries:\n- name: onboard\n  files: {{path: services}}\n",
        at.grpc,
        free(),
        at.admin
    );
    std::fs::write(dir.join("chandler.yaml"), config).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chandler"));
    command.args(["serve", "--config"]).arg(dir.join("chandler.yaml")).kill_on_drop(true);
    (command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary"), at)
}

async fn channel(at: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    Channel::from_shared(format!("http://{at}")).expect("an address").connect().await
}

/// Dials until it is let in, subscribes, and returns when the first answer is whole.
async fn first_answer(at: SocketAddr) -> usize {
    let mut client = loop {
        if let Ok(channel) = channel(at).await {
            break Client::new(channel).max_decoding_message_size(usize::MAX);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let request = DiscoveryRequest {
        type_url: SERVICE_ENTRY.into(),
        node: Some(Node { id: "bench".into(), ..Node::default() }),
        ..DiscoveryRequest::default()
    };
    let (_open, requests) = tokio::sync::mpsc::channel(1);
    _open.send(request).await.expect("open");
    let stream = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = client.stream_aggregated_resources(stream).await.expect("a stream").into_inner();
    answers.message().await.expect("an answer").expect("an answer").resources.len()
}

/// The version that the first client has acknowledged under ServiceEntry.
async fn acknowledged(admin: SocketAddr) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(admin).await.ok()?;
    let request = format!("GET /api/v1/clients HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await.ok()?;
    let at = text.find("ServiceEntry\"")?;
    let rest = text.get(at..)?;
    let value = rest.split("\"acknowledged\":\"").nth(1)?;
    value.split('"').next().map(String::from)
}

async fn istiod(dir: &Path, grpc: SocketAddr) -> Option<Child> {
    let program = std::env::var_os("CHANDLER_ISTIOD_1_18")?;
    let mesh = dir.join("mesh.yaml");
    std::fs::write(&mesh, format!("configSources:\n- address: xds://{grpc}\n")).expect("a file");
    let mut command = Command::new(program);
    command.arg("discovery").args([
        "--registries=",
        "--networksConfig=none",
        "--secureGRPCAddr=",
        "--httpsAddr=",
    ]);
    command.arg(format!("--meshConfig={}", mesh.display()));
    for flag in ["--grpcAddr", "--httpAddr", "--monitoringAddr"] {
        command.arg(format!("{flag}={}", free()));
    }
    command.arg(format!("--ctrlz_port={}", free().port())).current_dir(dir).kill_on_drop(true);
    command.envs([("POD_NAME", "bench"), ("POD_NAMESPACE", "istio-system"), ("ENABLE_CA_SERVER", "false")]);
    command.env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
    Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("istiod"))
}

/// A control plane that acknowledges whatever comes.
async fn acknowledging_client(at: SocketAddr) {
    let mut client = Client::new(channel(at).await.expect("chandler")).max_decoding_message_size(usize::MAX);
    let (out, requests) = tokio::sync::mpsc::channel(4);
    let request = |version: String, nonce: String| DiscoveryRequest {
        type_url: SERVICE_ENTRY.into(),
        version_info: version,
        response_nonce: nonce,
        ..DiscoveryRequest::default()
    };
    out.send(request(String::new(), String::new())).await.expect("open");
    let stream = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = client.stream_aggregated_resources(stream).await.expect("a stream").into_inner();
    while let Ok(Some(answer)) = answers.message().await {
        if out.send(request(answer.version_info, answer.nonce)).await.is_err() {
            return;
        }
    }
}

async fn next_version(admin: SocketAddr, old: &Option<String>) -> (String, Instant) {
    loop {
        if let Some(version) = acknowledged(admin).await
            && Some(&version) != old.as_ref()
        {
            return (version, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A folder with a configuration to be and its services.
fn folder(size: Size) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let services_dir = dir.path().join("services");
    std::fs::create_dir(&services_dir).expect("a folder");
    for file in 0..size.files {
        std::fs::write(services_dir.join(format!("f{file}.yaml")), services(size, file)).expect("a file");
    }
    dir
}

async fn restart() {
    let dir = folder(RESTART);
    let started = Instant::now();
    let (_chandler, at) = start(dir.path());
    let count = first_answer(at.grpc).await;
    let took = started.elapsed();
    println!("restart with {} services of 5 endpoints in {} files", RESTART.services, RESTART.files);
    println!("  first complete answer ({count} resources) after {took:.0?} (at most 1 s)");
    assert!(count == RESTART.services && took <= Duration::from_secs(1));
}

/// The file that changes: one service of two endpoints.
fn moving(turn: usize) -> String {
    let (a, b) = (turn % 250 + 1, turn / 250 + 1);
    format!(
        "services:\n- name: moving\n  hosts: [moving.bench.internal]\n  ports: [{{number: 80, protocol: HTTP}}]\n  \
         endpoints:\n  - {{address: 10.9.0.{a}}}\n  - {{address: 10.9.1.{b}}}\n"
    )
}

async fn renames(size: Size) {
    let dir = folder(size);
    let file = dir.path().join("services/moving.yaml");
    std::fs::write(&file, moving(0)).expect("a file");
    let (_chandler, at) = start(dir.path());
    first_answer(at.grpc).await;
    let plane = istiod(dir.path(), at.grpc).await;
    let who = if plane.is_some() {
        "istiod 1.18.7"
    } else {
        "a client that acknowledges at once (no istiod named)"
    };
    let mut own = Critical::default();
    if plane.is_none() {
        own.spawn("client", async move {
            acknowledging_client(at.grpc).await;
            Ok::<(), String>(())
        });
    }
    // Until everything that the start caused has been acknowledged.
    next_version(at.admin, &None).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (mut version, _) = next_version(at.admin, &None).await;
    let mut over = Vec::new();
    for turn in 1..=RENAMES {
        // From calm, as a change in the night: what waits is the quiet time alone.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let renamed = replace(&file, &moving(turn));
        let (next, seen) = next_version(at.admin, &Some(version)).await;
        version = next;
        let took = seen.duration_since(renamed);
        over.push(took.checked_sub(QUIET).expect("nothing is acknowledged before it is sent"));
    }
    over.sort();
    let share = |percent: usize| over[(over.len() - 1) * percent / 100];
    println!("rename of a services file to the acknowledgement of {who}, beyond the quiet {QUIET:?}");
    println!(
        "  beside {:>6} services: p50 {:.1?}  p90 {:.1?}  p99 {:.1?} of {RENAMES}",
        size.services,
        share(50),
        share(90),
        share(99)
    );
}

#[tokio::main]
async fn main() {
    if std::env::args().any(|a| a == "--test") {
        return; // `cargo test --benches` only builds
    }
    restart().await;
    renames(SMALL).await;
    renames(RESTART).await;
}
