use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Response;
use tonic::server::UnaryService;

use super::super::answer::ServiceInfo;
use super::*;
use crate::runtime::supervise::Owned;

/// What a provider of either age says: how large its answer is, in kilobytes.
#[derive(Debug, Clone, Copy)]
struct Provider {
    kilobytes: usize,
}

fn service(weight: &str) -> ServiceInfo {
    ServiceInfo {
        name: "a.A".into(),
        protocol: "tri".into(),
        port: 50051,
        params: BTreeMap::from([("weight".into(), weight.into())]),
        ..ServiceInfo::default()
    }
}

impl UnaryService<RevisionRequest> for Provider {
    type Response = MetadataInfo;
    type Future = futures_util::future::BoxFuture<'static, Result<Response<MetadataInfo>, Status>>;

    fn call(&mut self, request: Request<RevisionRequest>) -> Self::Future {
        let weight = "7".repeat(self.kilobytes * 1024);
        let known = request.get_ref().revision == "r1";
        let answer = MetadataInfo { services: BTreeMap::from([("a.A:tri".into(), service(&weight))]) };
        std::future::ready(if known { Ok(Response::new(answer)) } else { Err(Status::not_found("x")) })
            .boxed()
    }
}

impl UnaryService<WrappedRequest> for Provider {
    type Response = WrappedResponse;
    type Future = futures_util::future::BoxFuture<'static, Result<Response<WrappedResponse>, Status>>;

    fn call(&mut self, request: Request<WrappedRequest>) -> Self::Future {
        let header = |key| request.metadata().get(key).and_then(|v| v.to_str().ok()).map(str::to_owned);
        assert_eq!(header("tri-service-group").as_deref(), Some("app"));
        assert_eq!(header("tri-service-version").as_deref(), Some("1.0.0"));
        let asked = request.into_inner();
        assert_eq!(
            (asked.types, asked.arguments),
            (vec!["java.lang.String".into()], vec![b"S\0\x02r1".to_vec()])
        );
        let mut data =
            b"C\x01M\x91\x08services\x60H\x01kC\x01S\x92\x04name\x08protocol\x61\x03a.A\x03triZ".to_vec();
        data.resize(data.len() + self.kilobytes * 1024, b'N');
        let answer = WrappedResponse { serialization: asked.serialization, data };
        std::future::ready(Ok(Response::new(answer))).boxed()
    }
}

/// Serves both calls as `provider`.
async fn serve(provider: Provider) -> (SocketAddr, Owned) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let service = tower::service_fn(move |request: http::Request<axum::body::Body>| async move {
        let answer = match request.uri().path() {
            NEW => {
                let codec: ProstCodec<MetadataInfo, RevisionRequest> = ProstCodec::default();
                tonic::server::Grpc::new(codec).unary(provider, request).await
            }
            _ => {
                let codec: ProstCodec<WrappedResponse, WrappedRequest> = ProstCodec::default();
                tonic::server::Grpc::new(codec).unary(provider, request).await
            }
        };
        Ok::<_, Infallible>(answer)
    });
    let router = tonic::service::Routes::from(axum::Router::new().fallback_service(service));
    let server = tonic::transport::Server::builder().add_routes(router);
    let task = Owned::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)).map(drop));
    (at, task)
}

#[tokio::test]
async fn either_age_of_triple_is_asked_and_read() {
    let (at, _server) = serve(Provider { kilobytes: 0 }).await;
    let metadata = call(&at.to_string(), "r1").await.unwrap();
    assert_eq!(metadata.of("a.A")[0].port, Some(50051));
    let metadata = call_wrapped(&at.to_string(), "app", "1.0.0", "r1").await.unwrap();
    assert_eq!(&*metadata.of("a.A")[0].protocol, "tri");
    let why = call(&at.to_string(), "r2").await.unwrap_err();
    assert_eq!(why, "it answers with gRPC status 5");
}

/// Answers every call with 100 MB, as it announces; how many of these were taken from it.
async fn flood() -> (SocketAddr, Arc<AtomicUsize>, Owned) {
    const WHOLE: usize = 100_000_000;
    const PIECE: usize = 100_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, taken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&taken);
    let service = tower::service_fn(move |_: http::Request<axum::body::Body>| {
        let (count, length) = (Arc::clone(&count), u32::try_from(WHOLE).unwrap().to_be_bytes());
        let frame = [&[0], &length[..]].concat();
        let pieces = (0..WHOLE / PIECE).map(move |_| {
            count.fetch_add(PIECE, Ordering::Relaxed);
            vec![0; PIECE]
        });
        let all = std::iter::once(frame).chain(pieces).map(Ok::<_, Infallible>);
        let body = axum::body::Body::from_stream(tokio_stream::iter(all));
        let answer = http::Response::builder().header("content-type", "application/grpc").body(body).unwrap();
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let router = tonic::service::Routes::from(axum::Router::new().fallback_service(service));
    let server = tonic::transport::Server::builder().add_routes(router);
    let task = Owned::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)).map(drop));
    (at, taken, task)
}

#[tokio::test]
async fn an_answer_of_100_mb_is_refused_at_its_beginning() {
    let (at, taken, _server) = flood().await;
    for outcome in
        [call(&at.to_string(), "r1").await, call_wrapped(&at.to_string(), "app", "1.0.0", "r1").await]
    {
        assert_eq!(outcome.unwrap_err(), format!("it answers with more than {MAX_ANSWER} bytes"));
    }
    // Twice what is in the windows of a stream and in the sockets.
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < 30_000_000, "{taken} of 200,000,000");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let (at, _server) = serve(Provider { kilobytes: 5000 }).await;
    for outcome in
        [call(&at.to_string(), "r1").await, call_wrapped(&at.to_string(), "app", "1.0.0", "r1").await]
    {
        assert_eq!(outcome.unwrap_err(), format!("it answers with more than {MAX_ANSWER} bytes"));
    }
}

#[tokio::test]
async fn who_speaks_something_else_has_a_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(call(&at.to_string(), "r1").await.unwrap_err(), "nobody takes the connection");
    assert_eq!(call("a b", "r1").await.unwrap_err(), "its address makes no URL");
}
