//! A server that answers as it is told: for faults that the real one does not produce on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One answer.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// A status line, headers (`A: b`) and a body.
    Whole(&'static str, Vec<String>, Vec<u8>),
    /// The beginning of a body that was announced to be longer; then the connection closes.
    Cut(Vec<u8>),
    /// The beginning of a body that was announced to be longer; then nothing, ever.
    Stall(Vec<u8>),
    /// A body without end, of spaces after the beginning of an answer.
    Endless,
    /// Nothing, ever.
    Hang,
    /// The connection closes at once.
    Close,
}

impl Say {
    pub(crate) fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::Whole("200 OK", vec!["Content-Type: application/json".into()], body.into())
    }

    pub(crate) fn status(status: &'static str, body: &str) -> Self {
        Self::Whole(status, Vec::new(), body.into())
    }
}

type Script = Box<dyn FnMut(&Request) -> Say + Send>;

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// With the query.
    pub(crate) path: String,
    /// The whole head, in lower case.
    pub(crate) head: String,
}

/// The server; gone when dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start(script: impl FnMut(&Request) -> Say + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (script, requests) = (Arc::new(Mutex::new(Box::new(script) as Script)), Arc::default());
        let (seen, mut tasks) = (Arc::clone(&requests), JoinSet::new());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        Self { address, requests, _tasks: tasks }
    }

    /// One that says the same, whatever it is asked.
    pub(crate) async fn saying(say: Say) -> Self {
        Self::start(move |_| say.clone()).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/eureka", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, seen: Arc<Mutex<Vec<Request>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let request = Request { path, head: head.to_lowercase() };
    seen.lock().unwrap().push(request.clone());
    let say = (script.lock().unwrap())(&request);
    // Whether the other side still listens is not this side's affair.
    let _gone = match say {
        Say::Whole(status, headers, body) => {
            let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
            let head = format!(
                "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), &body].concat()).await
        }
        Say::Cut(body) => stream.write_all(&beginning(&body)).await,
        Say::Stall(body) => match stream.write_all(&beginning(&body)).await {
            Ok(()) => std::future::pending().await,
            gone => gone,
        },
        Say::Endless => endless(&mut stream).await,
        Say::Hang => std::future::pending().await,
        Say::Close => Ok(()),
    };
    let _closed = stream.shutdown().await;
}

/// An answer that breaks off after `body`, which is less than it announces.
fn beginning(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len() + 100);
    [head.as_bytes(), body].concat()
}

/// 200 MB unless the other side has enough before.
async fn endless(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"applications\":").await?;
    let spaces = vec![b' '; 1 << 20];
    for _ in 0..200 {
        stream.write_all(&spaces).await?;
    }
    Ok(())
}
