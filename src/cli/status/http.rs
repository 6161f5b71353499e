//! One GET over HTTP/1.1: all that `chandler status` needs of a client.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::cli::dial::Dial;
use crate::security::tls::speaks;
use crate::security::tls::words::innermost;

/// Far more than the rows of 10,000 clients take; whatever sends more is no chandler.
const ANSWER_BYTES: usize = 256 << 20;
/// Everything is answered from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back; `Err` says why nothing did.
pub(super) async fn get(server: &str, dial: &Dial, path: &str) -> Result<(StatusCode, Bytes), String> {
    let answer = async {
        let socket = TcpStream::connect(server).await.map_err(|e| unreachable(server, &e))?;
        let answer = match dial.tls() {
            None => exchange(socket, server, dial, path).await,
            Some(tls) => {
                let host = server.rsplit_once(':').map_or(server, |(host, _)| host).trim_matches(['[', ']']);
                let socket = tls.connect(socket, host, &[speaks::HTTP1]).await;
                let socket = socket
                    .map_err(|e| format!("cannot reach {server}: {}{}", innermost(&e), dial.advice()))?;
                exchange(socket, server, dial, path).await
            }
        };
        answer.map_err(|e| {
            format!("{server} does not speak HTTP as expected: {}{}", innermost(&*e), dial.advice())
        })
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("{server} has not answered within {PATIENCE:?}")),
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange<S>(
    socket: S,
    server: &str,
    dial: &Dial,
    path: &str,
) -> Result<(StatusCode, Bytes), AnyError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut requests, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let mut request = Request::get(path)
        .header(header::HOST, server)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    if let Some(bearer) = dial.bearer().value() {
        request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
    }
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
