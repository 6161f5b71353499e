//! The other process, which asks and reads: this program again. How the bench drives it, and its own life.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chandler::security::tls::client::{ClientFiles, ClientTls, OwnFiles, Trust};
use chandler::security::tls::speaks;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use crate::wire::{HEAD, Wire};

/// What istiod's client allows to be sent ahead.
const WINDOW: u32 = 1 << 20;
/// What stands before each gRPC message: whether it is compressed, and its length.
const HEADER: usize = 5;
/// The name in the certificate of a server that is asked over TLS.
pub(crate) const HOST: &str = "chandler.example";
/// Handshakes that are under way at a time.
const SHAKING: usize = 8;

/// Who the other process is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// Sockets that each read so many bytes.
    Bare(usize),
    /// Streams that ask and read one whole answer each.
    Read(Wire),
    /// The same, and they acknowledge.
    Acknowledge(Wire),
    /// Streams that ask and never read.
    Stall(Wire),
    /// Connections that are closed as soon as the server has said something.
    Shake,
}

impl Role {
    fn words(self) -> [String; 2] {
        let [what, of] = match self {
            Self::Bare(bytes) => return ["bare".into(), bytes.to_string()],
            Self::Read(wire) => ["read", wire.name()],
            Self::Acknowledge(wire) => ["acknowledge", wire.name()],
            Self::Stall(wire) => ["stall", wire.name()],
            Self::Shake => ["shake", ""],
        };
        [what.into(), of.into()]
    }

    fn of(what: &str, of: &str) -> Self {
        let wire = || Wire::of(of);
        match what {
            "read" => Self::Read(wire()),
            "acknowledge" => Self::Acknowledge(wire()),
            "stall" => Self::Stall(wire()),
            "shake" => Self::Shake,
            _ => Self::Bare(of.parse().unwrap()),
        }
    }
}

/// Whom they ask, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Where `ca.crt`, `client.crt` and `client.key` are, if mutual TLS is spoken there.
    pub(crate) tls: Option<PathBuf>,
}

/// What clients had when they left.
pub(crate) struct Left {
    /// The size of an answer.
    pub(crate) bytes: usize,
    /// How many resources were in it.
    pub(crate) resources: usize,
    /// How many connections failed and were tried once more.
    pub(crate) again: usize,
}

/// The other process.
pub(crate) struct Clients {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Clients {
    /// So many of them.
    pub(crate) fn start(role: Role, target: &Target, count: usize) -> Self {
        let tls = target.tls.as_deref().unwrap_or(Path::new(""));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--client")
            .args(role.words())
            .args([target.address.to_string(), count.to_string()])
            .arg(tls)
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

    /// Ends them and returns what they had.
    pub(crate) async fn leave(mut self) -> Left {
        let answer = self.hear().await;
        drop(self.child.stdin.take());
        self.child.wait().await.unwrap();
        let numbers: Vec<usize> = answer.split(' ').map(|n| n.parse().unwrap()).collect();
        Left { bytes: numbers[0], resources: numbers[1], again: numbers[2] }
    }

    async fn hear(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).await.unwrap();
        line.trim().to_owned()
    }
}

/// The other process's life, with the arguments that [`Clients::start`] gave it.
pub(crate) async fn live(arguments: &[String]) {
    let [what, of, address, count, tls] = arguments else { panic!("{arguments:?}") };
    let (role, count): (_, usize) = (Role::of(what, of), count.parse().unwrap());
    let dial = Dial::new(address.parse().unwrap(), tls);
    let mut heard = BufReader::new(tokio::io::stdin()).lines();
    println!("ready");
    heard.next_line().await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..if matches!(role, Role::Shake) { SHAKING } else { count } {
        let dial = dial.clone();
        tasks.spawn(async move {
            match role {
                Role::Shake => dial.shake(count / SHAKING).await,
                Role::Bare(bytes) => dial.bare(bytes, n == 0).await,
                _ => dial.stream(role, n == 0).await,
            }
        });
    }
    let open = tasks.join_all().await;
    println!("done");
    let answer = open.iter().map(|(_, message)| message).max_by_key(|m| m.len()).unwrap();
    let resources = match role {
        Role::Read(wire) | Role::Acknowledge(wire) => wire.resources(answer.clone()),
        _ => 0,
    };
    println!("{} {resources} {}", answer.len(), AGAIN.load(Ordering::Relaxed));
    while heard.next_line().await.unwrap().is_some() {}
}

/// Connections of this process that failed.
static AGAIN: AtomicUsize = AtomicUsize::new(0);

/// What keeps a connection open.
type Held = Box<dyn std::any::Any + Send>;

/// How a server is reached.
#[derive(Clone)]
struct Dial {
    address: SocketAddr,
    tls: Option<ClientTls>,
}

impl Dial {
    fn new(address: SocketAddr, tls: &str) -> Self {
        let folder = Path::new(tls);
        let load = || {
            let own = OwnFiles { certificate: folder.join("client.crt"), key: folder.join("client.key") };
            let trust = Trust::File(folder.join("ca.crt"));
            ClientTls::load(&ClientFiles { trust, own: Some(own), server_name: Some(HOST.into()) }).unwrap()
        };
        Self { address, tls: (!tls.is_empty()).then(load) }
    }

    async fn socket(&self) -> Box<dyn Readable> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let Some(tls) = &self.tls else { return Box::new(socket) };
        Box::new(tls.connect(socket, HOST, &[speaks::H2]).await.unwrap())
    }

    /// A connection that reads so many bytes.
    async fn bare(&self, bytes: usize, keep: bool) -> (Held, Bytes) {
        let mut io = self.socket().await;
        let (mut buffer, mut kept, mut read) = (vec![0; 256 << 10], BytesMut::new(), 0);
        while read < bytes {
            let chunk = io.read(&mut buffer).await.unwrap();
            assert!(chunk > 0, "it closed too early");
            read += chunk;
            if keep {
                kept.extend(&buffer[..chunk]);
            }
        }
        (Box::new(io), kept.freeze())
    }

    /// One connection after the other. That the server says something proves that it is content with us.
    async fn shake(&self, count: usize) -> (Held, Bytes) {
        for _ in 0..count {
            self.socket().await.read_u8().await.unwrap();
        }
        (Box::new(()), Bytes::new())
    }

    async fn stream(&self, role: Role, keep: bool) -> (Held, Bytes) {
        match role {
            Role::Stall(wire) => (Box::new(Stream::ask(self, wire).await), Bytes::new()),
            Role::Acknowledge(wire) => {
                let mut stream = Stream::ask(self, wire).await;
                let message = stream.read(keep).await;
                let acknowledgement = wire.acknowledge(&message);
                stream.say(&acknowledgement).await;
                (Box::new(stream), if keep { message } else { Bytes::new() })
            }
            Role::Read(wire) => {
                let mut stream = Stream::ask(self, wire).await;
                let message = stream.read(keep).await;
                (Box::new(stream), message)
            }
            Role::Bare(_) | Role::Shake => panic!("no stream"),
        }
    }
}

/// A connection to read from.
trait Readable: AsyncRead + Unpin + Send {}

impl<T: AsyncRead + Unpin + Send> Readable for T {}

/// A stream of one connection that has asked.
struct Stream {
    answer: tonic::body::Body,
    out: tokio::sync::mpsc::Sender<Result<http_body::Frame<Bytes>, tonic::Status>>,
    _channel: tonic::transport::Channel,
}

impl Stream {
    async fn ask(dial: &Dial, wire: Wire) -> Self {
        let scheme = if dial.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::try_from(format!("{scheme}://{}", dial.address)).unwrap();
        let endpoint = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let endpoint = endpoint.connect_timeout(Duration::from_secs(120));
        let channel = loop {
            let dialled = match &dial.tls {
                Some(tls) => tls.channel(&endpoint).await,
                None => endpoint.connect().await,
            };
            match dialled {
                Ok(channel) => break channel,
                // Whoever has no turn on a busy machine is too slow for the door, and comes again as a Pilot does.
                Err(_) => AGAIN.fetch_add(1, Ordering::Relaxed),
            };
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        let (out, frames) = tokio::sync::mpsc::channel(1);
        out.send(Ok(frame(&wire.request()))).await.unwrap();
        let frames = tokio_stream::wrappers::ReceiverStream::new(frames);
        let request = http::Request::post(format!("{scheme}://{}{}", dial.address, wire.path()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(tonic::body::Body::new(StreamBody::new(frames)))
            .unwrap();
        let answer = tower::ServiceExt::oneshot(channel.clone(), request).await.unwrap().into_body();
        Self { answer, out, _channel: channel }
    }

    async fn say(&mut self, message: &[u8]) {
        self.out.send(Ok(frame(message))).await.unwrap();
    }

    /// Reads one message to its end, undecoded, and returns all of it or its beginning.
    async fn read(&mut self, keep: bool) -> Bytes {
        let (mut kept, mut read, mut whole) = (BytesMut::new(), 0, HEADER);
        while read < whole {
            let chunk =
                self.answer.frame().await.unwrap().unwrap().into_data().expect("an answer, not a refusal");
            read += chunk.len();
            if keep || kept.len() < HEADER + HEAD {
                kept.extend(&chunk);
            }
            if kept.len() >= HEADER {
                whole = HEADER + u32::from_be_bytes(kept[1..HEADER].try_into().unwrap()) as usize;
            }
        }
        kept.freeze().slice(HEADER..)
    }
}

fn frame(message: &[u8]) -> http_body::Frame<Bytes> {
    let mut framed = BytesMut::from(&[0][..]);
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    http_body::Frame::data(framed.freeze())
}
