//! What the client does by itself; faults of servers stand in the tests of the registries.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::settings::{Address, Credentials, Limits, Secret, SecretText, TlsFiles};
use super::*;

/// A server that answers every request with these bytes after the status line; the heads that it has seen.
async fn server(answer: Vec<u8>) -> (String, Arc<Mutex<Vec<String>>>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (heads, mut tasks) = (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
    let seen = Arc::clone(&heads);
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            seen.lock().unwrap().push(String::from_utf8(head).unwrap().to_lowercase());
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n").await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    (address, heads, tasks)
}

fn client(address: &str, credentials: Credentials) -> Client {
    let addresses = vec![Address::parse(address).unwrap()];
    Client::new(Settings { addresses, tls: TlsFiles::default(), credentials, limits: Limits::default() })
}

fn text(text: &str) -> Secret {
    Secret::Text(SecretText::new(text))
}

#[tokio::test]
async fn every_way_to_show_credentials() {
    let header = http::HeaderName::from_static("x-consul-token");
    for (credentials, want) in [
        (Credentials::Bearer(text("t0k")), "authorization: bearer t0k"),
        (Credentials::Header(header, text("t0k")), "x-consul-token: t0k"),
        (Credentials::Basic("me".into(), text("pw")), "authorization: basic bwu6chc="),
    ] {
        let (address, heads, _tasks) = server(b"Content-Length: 2\r\n\r\n{}".to_vec()).await;
        client(&address, credentials).get(&Get::new("/x").with("a", "b c")).await.unwrap();
        let head = heads.lock().unwrap().concat();
        assert!(head.starts_with("get /x?a=b+c ") && head.contains(want), "{head}");
        assert!(head.contains("accept-encoding: gzip"), "{head}");
    }
    let (address, heads, _tasks) = server(b"Content-Length: 2\r\n\r\n{}".to_vec()).await;
    let with_login = address.replace("http://", "http://me:p%77@");
    client(&with_login, Credentials::None).get(&Get::new("/x")).await.unwrap();
    assert!(heads.lock().unwrap().concat().contains("authorization: basic bwu6chc="));
}

#[tokio::test]
async fn what_is_packed_is_unpacked() {
    // gzip's stored form of `{"a": 1}`.
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 8, 0, 0xf7, 0xff];
    packed.extend(b"{\"a\": 1}");
    packed.extend(crc32(b"{\"a\": 1}").to_le_bytes());
    packed.extend(8u32.to_le_bytes());
    let mut answer =
        format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", packed.len()).into_bytes();
    answer.extend(packed);
    let (address, _, _tasks) = server(answer).await;
    let answer = client(&address, Credentials::None).get(&Get::new("/x")).await.unwrap();
    assert_eq!(answer.json::<serde_json::Value>().unwrap()["a"], 1);
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, b| (0..8).fold(crc ^ u32::from(*b), |crc, _| step(crc)))
}

#[tokio::test]
async fn a_secret_that_is_missing_or_senseless_is_named_by_its_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let (address, heads, _tasks) = server(b"Content-Length: 2\r\n\r\n{}".to_vec()).await;
    let client = client(&address, Credentials::Bearer(Secret::File(path.clone())));
    let get = Get::new("/x");
    let why = async || client.get(&get).await.unwrap_err().to_string();
    assert!(why().await.contains("token cannot be read"));
    for (bad, words) in [("", "is empty"), ("hid\nden", "no header may have")] {
        std::fs::write(&path, bad).unwrap();
        let said = why().await;
        assert!(said.contains(words) && !said.contains("den"), "{said}");
    }
    assert!(heads.lock().unwrap().is_empty(), "nothing is asked without it");
    std::fs::write(&path, " good \n").unwrap();
    client.get(&get).await.unwrap();
    assert!(heads.lock().unwrap().concat().contains("authorization: bearer good\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changes_is_used_and_one_that_breaks_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "first").unwrap();
    let credentials = Credentials::Bearer(Secret::File(path.clone()));
    let keeper = material::Keeper::new(client("http://h", credentials).settings());
    let shown = async || {
        tokio::time::advance(Duration::from_secs(6)).await;
        let address = Address::parse("http://h").unwrap();
        let (_, value) = keeper.current().await.unwrap().auth(&address).unwrap();
        assert!(value.is_sensitive());
        value.to_str().unwrap().to_owned()
    };
    assert_eq!(shown().await, "Bearer first");
    std::fs::write(&path, "second").unwrap();
    assert_eq!(shown().await, "Bearer second");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(shown().await, "Bearer second");
}

/// A certificate authority of a test's own.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// A certificate for `localhost` and its key.
    fn sign(&self) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A server of its own, which lets in whom it has signed.
    async fn server(&self) -> (Address, JoinSet<()>) {
        let (cert, key) = self.sign();
        tls_server(&cert, &key, Some(&self.pem)).await
    }

    /// Writes `ca.pem`, `client.pem` and `client.key`.
    fn write(&self, dir: &std::path::Path) {
        let (cert, key) = self.sign();
        for (name, text) in [("ca.pem", &self.pem), ("client.pem", &cert), ("client.key", &key)] {
            std::fs::write(dir.join(name), text).unwrap();
        }
    }
}

async fn tls_server(cert: &str, key: &str, clients: Option<&str>) -> (Address, JoinSet<()>) {
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
            let roots = Arc::new(roots);
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
    let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever is not let in, or does not let us in, hears of it in the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while let (Ok(byte), false) = (stream.read_u8().await, head.ends_with(b"\r\n\r")) {
                head.push(byte);
            }
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
            let _gone = stream.write_all(answer).await;
            let _closed = stream.shutdown().await;
        }
    });
    (Address::parse(&address).unwrap(), tasks)
}

fn tls_client(addresses: Vec<Address>, tls: TlsFiles) -> Client {
    Client::new(Settings { addresses, tls, credentials: Credentials::None, limits: Limits::default() })
}

#[tokio::test]
async fn an_authority_and_a_certificate_that_change_are_used_at_once_and_broken_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    old.write(dir.path());
    let ((of_old, _first), (of_new, _second)) = (old.server().await, new.server().await);
    let identity =
        settings::IdentityFiles { cert: dir.path().join("client.pem"), key: dir.path().join("client.key") };
    let tls = TlsFiles { ca: Some(dir.path().join("ca.pem")), identity: Some(identity), server_name: None };
    let client = tls_client(vec![of_old, of_new], tls);
    let get = Get::new("/x");
    client.get_from(0, &get).await.unwrap();
    let why = client.get_from(1, &get).await.unwrap_err();
    assert!(matches!(why.fault, HttpFault::Tls(_)), "{why}");
    new.write(dir.path());
    client.get_from(1, &get).await.unwrap();
    assert!(client.get_from(0, &get).await.is_err(), "the old authority is trusted no longer");
    // A file in the middle of being written: what was read before stays.
    for name in ["ca.pem", "client.key"] {
        let whole = std::fs::read(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name), &whole[..whole.len() / 2]).unwrap();
        assert!(client.get_from(0, &get).await.is_err());
        client.get_from(1, &get).await.unwrap();
        std::fs::write(dir.path().join(name), whole).unwrap();
    }
}

#[tokio::test]
async fn a_servers_own_certificate_is_believed_where_the_file_lists_it_and_only_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    // As `openssl req -x509` makes them: signed by itself, and an authority.
    let made = |ca: bool, last: i32| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        if ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        params.not_after = rcgen::date_time_ymd(last, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    for (ca, last, name, words) in [
        (true, 2099, None, None),
        (false, 2099, None, None),
        (true, 2099, Some("other.example"), Some("not valid for name")),
        (true, 2001, None, Some("Expired")),
    ] {
        let (cert, key) = made(ca, last);
        let (address, _tasks) = tls_server(&cert, &key, None).await;
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, &cert).unwrap();
        let tls = TlsFiles { ca: Some(path.clone()), identity: None, server_name: name.map(Into::into) };
        let asked = tls_client(vec![address.clone()], tls).get(&Get::new("/x")).await;
        match (asked, words) {
            (Ok(_), None) => {}
            (Err(why), Some(words)) => assert!(why.to_string().contains(words), "{why}"),
            (asked, _) => panic!("{ca} {last} {name:?}: {asked:?}"),
        }
        // Another one that nobody lists is as unknown as ever.
        std::fs::write(&path, made(ca, 2099).0).unwrap();
        let tls = TlsFiles { ca: Some(path), identity: None, server_name: None };
        let why = tls_client(vec![address], tls).get(&Get::new("/x")).await.unwrap_err();
        assert!(matches!(why.fault, HttpFault::Tls(_)), "{why}");
    }
}
