//! Connections of the HTTP listeners: owned by their listener, bounded in number, in what they send and in age.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Far more than kubelet, a Prometheus pair and some people need. Further ones wait in the listener's queue.
const CONNECTIONS: usize = 256;
/// A request's head is a few hundred bytes; whoever takes longer for it is stuck, or means no good.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of the connection's buffer.
const HEAD_BYTES: usize = 16 << 10;
/// After this a connection takes no further request: bounds also those that never read their answer.
const AGE: Duration = Duration::from_secs(60);
/// What it is then given for the answer in progress; also when the listener stops.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// Before the next attempt to accept when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until `stop`; then answers in progress are given a moment.
///
/// # Errors
/// None today: what goes wrong with one connection, or with accepting it, concerns nobody else.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a request to the HTTP listener failed");
                }
            }
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(connection(socket, router.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    // What is still open after that is closed with the set.
    let all = async { while connections.join_next().await.is_some() {} };
    let _in_time = tokio::time::timeout(LAST_ANSWER, all).await;
    Ok(())
}

async fn connection(socket: TcpStream, router: Router, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router)));
    tokio::select! {
        // Errors are the client's: gone, too slow, not HTTP.
        _ended = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _in_time = tokio::time::timeout(LAST_ANSWER, connection).await;
}
