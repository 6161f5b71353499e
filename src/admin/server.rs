//! Connections of the HTTP listeners: owned by their listener, bounded in number, in what they send and in age; each comes
//! in through the listener's [`Door`], which is also asked at each request.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::admin::http::ApiError;
use crate::security::authorizer::{Authorizer, Denied};
use crate::security::door::{Connection, Door};
use crate::security::peer::Peer;

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

/// Answers on `listener` whom `door` lets in, until `stop`; then answers in progress are given a moment.
///
/// # Errors
/// None today: what goes wrong with one connection, or with accepting it, concerns nobody else.
pub async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
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
                Ok((socket, address)) => {
                    let (door, router, stop) = (Arc::clone(&door), router.clone(), stop.clone());
                    connections.spawn(async move {
                        if let Some(entered) = door.enter(socket, address).await {
                            connection(entered, door, router, stop).await;
                        }
                    });
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

async fn connection(socket: Connection, door: Arc<Door>, router: Router, stop: CancellationToken) {
    let peer = socket.peer().clone();
    let answer = service_fn(move |request: Request<Incoming>| {
        answer(Arc::clone(&door), peer.clone().with_headers(request.headers()), router.clone(), request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), answer));
    tokio::select! {
        // Errors are the client's: gone, too slow, not HTTP.
        _ended = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _in_time = tokio::time::timeout(LAST_ANSWER, connection).await;
}

/// Answers one request of a peer that may come, and others with the reason why they may not.
async fn answer(
    door: Arc<Door>,
    peer: Peer,
    router: Router,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    match door.admit(&peer) {
        Ok(()) => router.oneshot(request).await,
        Err(denied) => {
            door.turned_away(&peer, &denied);
            Ok(refusal(&denied))
        }
    }
}

fn refusal(denied: &Denied) -> Response {
    match denied {
        Denied::Forbidden(words) => ApiError::new(StatusCode::FORBIDDEN, &**words).into_response(),
        Denied::Unauthenticated(words) => {
            let mut response = ApiError::new(StatusCode::UNAUTHORIZED, &**words).into_response();
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
    }
}
