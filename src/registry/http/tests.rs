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
