//! Handshakes at one door, without a server behind it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chandler::security::Keeper;
use chandler::security::authorizer::Anyone;
use chandler::security::door::{Connection, Door, DoorMetrics, Speaks};
use chandler::security::tls::client::{ClientFiles, ClientTls, Trust};
use chandler::security::tls::server::{ClientCertificates, Demand, ServerFiles, ServerTls};
use chandler::security::tls::speaks;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::authority::{Authority, EXPIRED, GOOD, client, write};
use crate::support::PATIENCE;

const HOST: &str = "chandler.example";
const ISTIOD: &str = "spiffe://cluster.local/ns/istio-system/sa/istiod";

/// A door with its files, and what it has counted.
struct Bench {
    dir: TempDir,
    authority: Authority,
    files: ServerFiles,
    keeper: Keeper,
    door: Arc<Door>,
    counted: Registry,
}

impl Bench {
    /// A plaintext door.
    fn plain(speaks: Speaks) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("ours");
        write(dir.path(), "ca.crt", &authority.pem);
        let own = authority.issue(&[HOST], GOOD).write(dir.path(), "server");
        let files = ServerFiles { certificate: own.certificate, key: own.key, clients: None };
        let mut counted = Registry::default();
        let door = Door::open(speaks, DoorMetrics::new(&mut counted));
        let keeper = Keeper::default();
        counted.register_collector(keeper.metrics());
        let door = Arc::new(door.with_patience(PATIENCE));
        Self { dir, authority, files, keeper, door, counted }
    }

    /// The same, for those who let themselves be waited for in vain.
    fn impatient(self) -> Self {
        let Self { dir, authority, files, keeper, door, counted } = self;
        let door = Arc::into_inner(door).unwrap().with_patience(Duration::from_millis(200));
        Self { dir, authority, files, keeper, door: Arc::new(door), counted }
    }

    /// A door with TLS that asks for certificates of its own authority, if it is to.
    fn tls(demand: Option<Demand>) -> Self {
        let mut bench = Self::plain(Speaks::Grpc);
        let ca = write(bench.dir.path(), "clients.crt", &bench.authority.pem);
        bench.files.clients = demand.map(|demand| ClientCertificates { ca, demand });
        let tls = ServerTls::load(&bench.files, speaks::H2, &bench.keeper).unwrap();
        bench.door.set(Some(tls), Arc::new(Anyone));
        bench
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Somebody with a certificate of `authority`.
    fn somebody(&self, authority: &Authority, names: &[&str], until: i32) -> ClientTls {
        let own = authority.issue(names, until).write(self.dir.path(), "client");
        client(&self.ca(), Some(own))
    }

    fn nobody(&self) -> ClientTls {
        client(&self.ca(), None)
    }

    fn count(&self, metric: &str) -> u64 {
        let mut out = String::new();
        text::encode(&mut out, &self.counted).unwrap();
        let line = out.lines().find_map(|line| line.strip_prefix(metric));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    fn failures(&self, reason: &str) -> u64 {
        self.count(&format!("tls_handshake_failures_total{{reason=\"{reason}\"}}"))
    }

    /// One connection from both sides: who came in, and how it looks to the client, who is sent a byte.
    async fn meet(&self, client: &ClientTls) -> (Option<Connection>, io::Result<()>) {
        let (listener, address) = listening().await;
        let server = async {
            let mut entered = enter(&self.door, &listener).await;
            if let Some(connection) = &mut entered {
                connection.write_all(b"!").await.unwrap();
                connection.flush().await.unwrap();
            }
            entered
        };
        let dialled = async {
            let socket = TcpStream::connect(address).await?;
            let mut stream = client.connect(socket, HOST, &[speaks::H2]).await?;
            // With TLS 1.3 the server's verdict comes after the client's handshake.
            stream.read_u8().await.map(drop)
        };
        tokio::join!(server, dialled)
    }

    /// What somebody who says `bytes` and nothing more is answered, until the end.
    async fn say(&self, bytes: &[u8]) -> (Option<Connection>, Vec<u8>) {
        let (listener, address) = listening().await;
        let spoken = async {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            // A reset is an end too.
            let _end = socket.read_to_end(&mut answer).await;
            answer
        };
        tokio::join!(enter(&self.door, &listener), spoken)
    }
}

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn enter(door: &Door, listener: &TcpListener) -> Option<Connection> {
    let (socket, address) = listener.accept().await.unwrap();
    door.enter(socket, address).await
}

fn names(connection: Option<Connection>) -> Vec<String> {
    let connection = connection.expect("it came in");
    connection.peer().identities.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn who_believes_the_server_comes_in_and_is_nobody() {
    let bench = Bench::tls(None);
    let (entered, seen) = bench.meet(&bench.nobody()).await;
    assert!(seen.is_ok(), "{seen:?}");
    assert!(names(entered).is_empty());
    // Nobody asked for this certificate, so nobody verified it.
    let (entered, _) = bench.meet(&bench.somebody(&bench.authority, &[ISTIOD], GOOD)).await;
    assert!(names(entered).is_empty());
    assert_eq!(bench.count("tls_handshakes_total"), 2);
}

#[tokio::test]
async fn a_client_that_does_not_believe_the_server_goes_and_is_counted() {
    let bench = Bench::tls(None);
    let other = write(bench.dir.path(), "other.crt", &Authority::new("other").pem);
    let (entered, seen) = bench.meet(&client(&other, None)).await;
    assert!(entered.is_none() && seen.unwrap_err().to_string().contains("UnknownIssuer"));
    let wrong_name = ClientFiles {
        trust: Trust::File(bench.ca()),
        server_name: Some("other.example".into()),
        ..ClientFiles::default()
    };
    let (entered, seen) = bench.meet(&ClientTls::load(&wrong_name).unwrap()).await;
    assert!(entered.is_none() && seen.unwrap_err().to_string().contains("other.example"));
    assert_eq!(bench.failures("refused_by_client"), 2);
    let anybody = ClientFiles { trust: Trust::Anybody, ..ClientFiles::default() };
    let (entered, seen) = bench.meet(&ClientTls::load(&anybody).unwrap()).await;
    assert!(entered.is_some() && seen.is_ok());
}

#[tokio::test]
async fn a_servers_own_certificate_is_believed_where_the_file_lists_it_and_only_under_its_name() {
    let bench = Bench::tls(None);
    let own = client(&bench.files.certificate, None);
    let (entered, seen) = bench.meet(&own).await;
    assert!(entered.is_some() && seen.is_ok(), "{seen:?}");
    let other = ClientFiles {
        trust: Trust::File(bench.files.certificate.clone()),
        server_name: Some("other.example".into()),
        ..ClientFiles::default()
    };
    let (entered, seen) = bench.meet(&ClientTls::load(&other).unwrap()).await;
    assert!(entered.is_none() && seen.unwrap_err().to_string().contains("other.example"));
    // What the file says is renewed with it, and another one of the same name is as unknown as ever.
    let before = std::fs::read_to_string(&bench.files.certificate).unwrap();
    Authority::new("other").issue(&[HOST], GOOD).write(bench.dir.path(), "server");
    bench.keeper.look();
    assert!(bench.meet(&own).await.1.is_ok(), "the same file for both");
    let old = client(&write(bench.dir.path(), "old.crt", &before), None);
    assert!(bench.meet(&old).await.1.unwrap_err().to_string().contains("UnknownIssuer"));
}

#[tokio::test]
async fn names_come_from_verified_certificates_only() {
    let bench = Bench::tls(Some(Demand::Optional));
    let (entered, _) = bench.meet(&bench.nobody()).await;
    assert!(names(entered).is_empty(), "optional");
    let (entered, seen) =
        bench.meet(&bench.somebody(&bench.authority, &["pilot.example", ISTIOD], GOOD)).await;
    assert!(seen.is_ok(), "{seen:?}");
    assert_eq!(names(entered), [ISTIOD, "pilot.example"]);
    let stranger = Authority::new("ours");
    for (authority, until, reason) in [(&stranger, GOOD, "untrusted"), (&bench.authority, EXPIRED, "expired")]
    {
        let (entered, seen) = bench.meet(&bench.somebody(authority, &[ISTIOD], until)).await;
        assert!(entered.is_none() && seen.is_err(), "{reason}");
        assert_eq!(bench.failures(reason), 1, "{reason}");
    }
}

#[tokio::test]
async fn without_a_required_certificate_there_is_no_connection() {
    let bench = Bench::tls(Some(Demand::Required));
    let (entered, seen) = bench.meet(&bench.nobody()).await;
    assert!(entered.is_none() && seen.is_err());
    assert_eq!(bench.failures("no_certificate"), 1);
    let (entered, _) = bench.meet(&bench.somebody(&bench.authority, &[ISTIOD], GOOD)).await;
    assert_eq!(names(entered), [ISTIOD]);
}

#[tokio::test]
async fn who_talks_on_before_the_verdict_still_hears_why() {
    let bench = Bench::tls(Some(Demand::Required));
    let expired = bench.somebody(&bench.authority, &[ISTIOD], EXPIRED);
    let (listener, address) = listening().await;
    let dialled = async {
        let socket = TcpStream::connect(address).await.unwrap();
        let mut stream = expired.connect(socket, HOST, &[speaks::H2]).await.unwrap();
        // More than the server reads for its verdict, as an HTTP/2 client says at once.
        stream.write_all(&[0; 32 << 10]).await.unwrap();
        stream.read_u8().await.unwrap_err().to_string()
    };
    let (entered, seen) = tokio::join!(enter(&bench.door, &listener), dialled);
    assert!(entered.is_none() && seen.contains("CertificateExpired"), "{seen}");
}

#[tokio::test]
async fn the_wrong_protocol_inside_tls_is_refused() {
    let bench = Bench::tls(None);
    let (listener, address) = listening().await;
    let nobody = bench.nobody();
    let dialled = async {
        let socket = TcpStream::connect(address).await.unwrap();
        nobody.connect(socket, HOST, &[speaks::HTTP1]).await
    };
    let (entered, seen) = tokio::join!(enter(&bench.door, &listener), dialled);
    assert!(entered.is_none() && seen.is_err());
    assert_eq!(bench.failures("incompatible"), 1);
}

#[tokio::test]
async fn a_new_certificate_and_new_authorities_hold_from_the_next_handshake_on() {
    let bench = Bench::tls(Some(Demand::Required));
    let own = bench.somebody(&bench.authority, &[ISTIOD], GOOD);
    let other = Authority::new("other");
    let (old_ca, new_ca) = (bench.ca(), write(bench.dir.path(), "new-ca.crt", &other.pem));

    // The server's own.
    other.issue(&[HOST], GOOD).write(bench.dir.path(), "server");
    bench.keeper.look();
    assert!(bench.meet(&own).await.1.is_err(), "it believes the old authority");
    let theirs = other.issue(&["spiffe://other"], GOOD).write(bench.dir.path(), "theirs");
    let ours = bench.authority.issue(&[ISTIOD], GOOD).write(bench.dir.path(), "ours");
    let own = client(&new_ca, Some(ours));
    assert_eq!(names(bench.meet(&own).await.0), [ISTIOD]);

    // Whom it believes.
    let stranger = client(&new_ca, Some(theirs));
    assert!(bench.meet(&stranger).await.0.is_none());
    write(bench.dir.path(), "clients.crt", &other.pem);
    bench.keeper.look();
    assert_eq!(names(bench.meet(&stranger).await.0), ["spiffe://other"]);
    assert!(bench.meet(&own).await.0.is_none(), "its authority is not believed any more");
    assert!(old_ca.exists());
}

#[tokio::test]
async fn a_bad_new_file_leaves_the_old_one_in_force_and_shows_in_a_metric() {
    let bench = Bench::tls(Some(Demand::Required));
    let own = bench.somebody(&bench.authority, &[ISTIOD], GOOD);
    let stale = |file: &str| {
        let path = bench.dir.path().join(file);
        bench.count(&format!("security_file_stale{{file=\"{}\"}}", path.display()))
    };
    let good = bench.authority.issue(&[HOST], GOOD);
    let expired = bench.authority.issue(&[HOST], EXPIRED);
    let foreign_key = bench.authority.issue(&[HOST], GOOD).key;
    for (certificate, key) in [
        ("no PEM", good.key.as_str()),
        (&good.certificate, ""),
        (&good.certificate, &foreign_key),
        (&expired.certificate, &expired.key),
    ] {
        write(bench.dir.path(), "server.crt", certificate);
        write(bench.dir.path(), "server.key", key);
        bench.keeper.look();
        assert!(bench.meet(&own).await.1.is_ok(), "{certificate}");
        assert_eq!(stale("server.crt"), 1, "{certificate}");
    }
    std::fs::remove_file(bench.dir.path().join("clients.crt")).unwrap();
    good.write(bench.dir.path(), "server");
    bench.keeper.look();
    assert_eq!((stale("server.crt"), stale("clients.crt")), (0, 1), "each by itself");
    assert_eq!(names(bench.meet(&own).await.0), [ISTIOD]);
    let path = bench.dir.path().join("server.crt");
    let expiry = format!("tls_certificate_expiry_timestamp_seconds{{file=\"{}\"}}", path.display());
    assert_eq!(bench.count(&expiry), 4_070_908_800, "2099-01-01");
}

#[tokio::test]
async fn a_bad_first_file_is_an_error_that_names_it_and_says_what_to_do() {
    let bench = Bench::plain(Speaks::Grpc);
    let load =
        |files: &ServerFiles| ServerTls::load(files, speaks::H2, &bench.keeper).unwrap_err().to_string();
    let at = |name: &str| bench.dir.path().join(name);
    let error = load(&ServerFiles { key: at("missing.key"), ..bench.files.clone() });
    assert!(error.contains("missing.key: no such file: check the path"), "{error}");
    let error = load(&ServerFiles { certificate: bench.files.key.clone(), ..bench.files.clone() });
    assert!(
        error.contains("server.key: holds no certificate") && error.contains("BEGIN CERTIFICATE"),
        "{error}"
    );
    let error = load(&ServerFiles { key: bench.files.certificate.clone(), ..bench.files.clone() });
    assert!(
        error.contains("server.crt: holds no private key") && error.contains("BEGIN PRIVATE KEY"),
        "{error}"
    );
    let other = bench.authority.issue(&[HOST], GOOD).write(bench.dir.path(), "other");
    let error = load(&ServerFiles { key: other.key, ..bench.files.clone() });
    assert!(error.contains("other.key is not the key of"), "{error}");
    let clients = Some(ClientCertificates { ca: bench.files.key.clone(), demand: Demand::Optional });
    let error = load(&ServerFiles { clients, ..bench.files.clone() });
    assert!(error.contains("server.key: holds no certificate"), "{error}");
    let secret = std::fs::read_to_string(&bench.files.key).unwrap();
    let line = secret.lines().nth(1).unwrap();
    assert!(!error.contains(line));
}

#[tokio::test]
async fn plaintext_on_a_tls_port_is_answered_in_its_own_language() {
    let bench = Bench::tls(None);
    let (entered, answer) = bench.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(entered.is_none());
    // SETTINGS, then GOAWAY with words.
    assert_eq!((answer[3], answer[9 + 3]), (4, 7));
    let words = String::from_utf8_lossy(&answer[9 + 9 + 8..]).into_owned();
    assert!(words.contains("this port speaks TLS"), "{words}");
    assert_eq!(bench.failures("plaintext"), 1);

    let bench = Bench::plain(Speaks::Http);
    let tls = ServerTls::load(&bench.files, speaks::HTTP1, &bench.keeper).unwrap();
    bench.door.set(Some(tls), Arc::new(Anyone));
    let (entered, answer) = bench.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(entered.is_none() && answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("give it TLS settings\"}"), "{answer}");
}

#[tokio::test]
async fn tls_on_a_plaintext_port_is_seen_and_ended() {
    let bench = Bench::plain(Speaks::Grpc);
    let (entered, seen) = bench.meet(&bench.nobody()).await;
    assert!(entered.is_none());
    assert!(seen.unwrap_err().to_string().contains("corrupt message"), "that it is no TLS");
    assert_eq!(bench.failures("tls_on_plaintext"), 1);
    // Somebody who speaks what is spoken comes in, and nothing that he said is lost.
    let (listener, address) = listening().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"PRI").await.unwrap();
    let mut entered = enter(&bench.door, &listener).await.expect("plaintext");
    let mut said = [0; 3];
    entered.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"PRI");
}

#[tokio::test]
async fn a_silent_or_stuck_client_is_not_waited_for_for_long() {
    let bench = Bench::tls(None).impatient();
    // Nothing; the head of a handshake, and no more.
    for (n, bytes) in (1..).zip([&b""[..], &[0x16, 3, 1, 2, 0, 1]]) {
        assert!(bench.say(bytes).await.0.is_none());
        assert_eq!(bench.failures("timeout"), n, "{bytes:?}");
    }
    let bench = Bench::tls(None);
    // A record of a kind that cannot come first, in what looks like one.
    assert!(bench.say(&[0x16, 3, 1, 0, 5, 99, 0, 0, 1, 0]).await.0.is_none());
    assert_eq!(bench.failures("malformed"), 1);
    // Who opens and closes, as health checks do, is no failure; who is silent on a plaintext port is none either.
    let (listener, address) = listening().await;
    drop(TcpStream::connect(address).await.unwrap());
    assert!(enter(&bench.door, &listener).await.is_none());
    assert_eq!(bench.failures("closed"), 0);
    let plain = Bench::plain(Speaks::Grpc).impatient();
    assert!(plain.say(b"").await.0.is_none());
    assert_eq!(plain.failures("timeout"), 0);
}
