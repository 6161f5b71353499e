//! The other process, which asks and reads: this program again. How the bench drives it, and its own life.

use std::net::SocketAddr;
use std::process::Stdio;

use bytes::{Bytes, BytesMut};
use chandler::proto::core::Node;
use chandler::proto::discovery::{DiscoveryRequest, DiscoveryResponse};
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use crate::{STALLED, STREAMS, TYPE_URL};

/// What istiod's client allows to be sent ahead.
const WINDOW: u32 = 1 << 20;
/// What stands before each gRPC message: whether it is compressed, and its length.
const HEADER: usize = 5;

/// Who the other process is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// Sockets that each read so many bytes.
    Bare(usize),
    /// Streams that ask and read one whole answer each.
    Xds,
    /// Streams that ask and never read.
    Stalled,
}

/// The other process.
pub(crate) struct Clients {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Clients {
    pub(crate) fn start(role: Role, address: SocketAddr) -> Self {
        let role = match role {
            Role::Bare(bytes) => bytes.to_string(),
            Role::Xds => "xds".into(),
            Role::Stalled => "stalled".into(),
        };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--client", &role, &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        Self { child, says }
    }

    /// Lets them connect and ask.
    pub(crate) async fn go(&mut self) {
        assert_eq!(self.hear().await, "ready");
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
    }

    /// Returns when every one of them has all that it reads.
    pub(crate) async fn done(&mut self) {
        assert_eq!(self.hear().await, "done");
    }

    /// Ends them and returns how large an answer was and how many resources it had.
    pub(crate) async fn leave(mut self) -> (usize, usize) {
        let answer = self.hear().await;
        drop(self.child.stdin.take());
        self.child.wait().await.unwrap();
        let (bytes, resources) = answer.split_once(' ').unwrap();
        (bytes.parse().unwrap(), resources.parse().unwrap())
    }

    async fn hear(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).await.unwrap();
        line.trim().to_owned()
    }
}

/// The other process's life, with the arguments that [`Clients::start`] gave it.
pub(crate) async fn live(role: &str, address: SocketAddr) {
    let mut heard = BufReader::new(tokio::io::stdin()).lines();
    println!("ready");
    heard.next_line().await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..if role == "stalled" { STALLED } else { STREAMS } {
        let keep = n == 0;
        match role {
            "xds" => tasks.spawn(async move {
                let mut stream = Stream::ask(address).await;
                let message = stream.read(keep).await;
                (Box::new(stream) as Held, message)
            }),
            "stalled" => {
                tasks.spawn(async move { (Box::new(Stream::ask(address).await) as _, Bytes::new()) })
            }
            bytes => tasks.spawn(read_bare(address, bytes.parse().unwrap(), keep)),
        };
    }
    let open = tasks.join_all().await;
    println!("done");
    let answer = open.iter().map(|(_, message)| message).max_by_key(|m| m.len()).unwrap();
    let resources = DiscoveryResponse::decode(answer.clone()).unwrap().resources.len();
    println!("{} {resources}", answer.len());
    while heard.next_line().await.unwrap().is_some() {}
}

/// What keeps a connection open.
type Held = Box<dyn std::any::Any + Send>;

async fn read_bare(address: SocketAddr, bytes: usize, keep: bool) -> (Held, Bytes) {
    let mut io = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut buffer, mut kept, mut read) = (vec![0; 256 << 10], BytesMut::new(), 0);
    while read < bytes {
        let chunk = io.read(&mut buffer).await.unwrap();
        read += chunk;
        if keep {
            kept.extend(&buffer[..chunk]);
        }
    }
    (Box::new(io), kept.freeze())
}

/// A stream of one connection that has asked.
struct Stream {
    answer: tonic::body::Body,
    _open: (
        tonic::transport::Channel,
        tokio::sync::mpsc::Sender<Result<http_body::Frame<Bytes>, tonic::Status>>,
    ),
}

impl Stream {
    async fn ask(address: SocketAddr) -> Self {
        let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
        let endpoint = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let channel = endpoint.connect().await.unwrap();
        let request = request();
        let mut message = BytesMut::from(&[0][..]);
        message.extend(u32::try_from(request.encoded_len()).unwrap().to_be_bytes());
        message.extend(request.encode_to_vec());
        let (out, frames) = tokio::sync::mpsc::channel(1);
        out.send(Ok(http_body::Frame::data(message.freeze()))).await.unwrap();
        let frames = tokio_stream::wrappers::ReceiverStream::new(frames);
        let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
        let request = http::Request::post(format!("http://{address}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(tonic::body::Body::new(StreamBody::new(frames)))
            .unwrap();
        let answer = tower::ServiceExt::oneshot(channel.clone(), request).await.unwrap().into_body();
        Self { answer, _open: (channel, out) }
    }

    /// Reads one message to its end, undecoded, and returns it if it is to be kept.
    async fn read(&mut self, keep: bool) -> Bytes {
        let (mut kept, mut read, mut whole) = (BytesMut::new(), 0, HEADER);
        while read < whole {
            let chunk =
                self.answer.frame().await.unwrap().unwrap().into_data().expect("an answer, not a refusal");
            read += chunk.len();
            if keep || kept.len() < HEADER {
                kept.extend(&chunk);
            }
            if kept.len() >= HEADER {
                whole = HEADER + u32::from_be_bytes(kept[1..HEADER].try_into().unwrap()) as usize;
            }
        }
        if keep { kept.freeze().slice(HEADER..) } else { Bytes::new() }
    }
}

/// What an istiod asks of a config source, and of another istiod.
fn request() -> DiscoveryRequest {
    let generator = Value { kind: Some(Kind::StringValue("api".into())) };
    let node = Node {
        id: "sidecar~10.0.0.1~bench.istio-system~istio-system.svc.cluster.local".into(),
        metadata: Some(Struct { fields: [("GENERATOR".to_owned(), generator)].into() }),
        ..Node::default()
    };
    DiscoveryRequest { node: Some(node), type_url: TYPE_URL.into(), ..DiscoveryRequest::default() }
}
