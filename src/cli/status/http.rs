//! One GET over HTTP/1.1: all that `chandler status` needs of a client.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Far more than the rows of 10,000 clients take; whatever sends more is no chandler.
const ANSWER_BYTES: usize = 256 << 20;
/// Everything is answered from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back; `Err` says why nothing did.
pub(super) async fn get(server: &str, path: &str) -> Result<(StatusCode, Bytes), String> {
    let answer = async {
        let socket = TcpStream::connect(server).await.map_err(|e| unreachable(server, &e))?;
        exchange(socket, server, path)
            .await
            .map_err(|e| format!("{server} does not speak HTTP as expected: {e}"))
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("{server} has not answered within {PATIENCE:?}")),
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(socket: TcpStream, server: &str, path: &str) -> Result<(StatusCode, Bytes), AnyError> {
    let (mut requests, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request = Request::get(path)
        .header(header::HOST, server)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = requests.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await?.to_bytes();
        Ok((status, body))
    };
    // The connection moves only while it is awaited; the answer is what counts.
    let (answer, _closed) = tokio::join!(answer, connection);
    answer
}

fn unreachable(server: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "nothing listens at {server} (connection refused). Start a server with `chandler serve`, or name the \
             admin address of another with --admin HOST:PORT"
        ),
        _ => {
            format!("cannot reach {server}: {error}. Name the server's admin address with --admin HOST:PORT")
        }
    }
}
