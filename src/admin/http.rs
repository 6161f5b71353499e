//! What holds for every request: an answer in time, errors in one form, and no body unless something is to be done.
//!
//! Nothing is done for a web page that a person happens to have open: what is posted must call itself JSON, which a page of
//! another origin cannot send unasked, and must come from no page at all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http_body::{Frame, SizeHint};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All answers come from memory; what takes longer than this is stuck.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Large answers that are in memory at a time: some people and a script; ten megabytes each for a large mesh.
const LARGE_ANSWERS: usize = 8;
/// How long a question waits for one of their places: less than for an answer, so that its words arrive.
const PLACE_TIMEOUT: Duration = Duration::from_secs(5);

/// Names of a registry and a service, with much to spare.
const BODY_BYTES: usize = 4 << 10;

/// Why a request is not answered: a status and words, as JSON `{"error": …}`.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    error: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    /// The pipeline did not answer.
    pub(super) fn pipeline() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the pipeline does not answer: see the log of chandler")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.error}))).into_response()
    }
}

/// `router` behind the rules of this module.
pub(super) fn guarded<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.fallback(unknown).layer(middleware::from_fn(guard))
}

/// `router`, whose routes do something when they are posted to.
pub(super) fn doing<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn(of_no_page))
        .layer(middleware::from_fn(in_time))
}

/// `router`, whose answers may each be as large as everything that is known: only so many are in memory at a time, from
/// their making until they have been read. Who waits too long for a place is told so.
pub(super) fn large<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let places = Arc::new(Semaphore::new(LARGE_ANSWERS));
    router.layer(middleware::from_fn(move |request, next| in_turn(Arc::clone(&places), request, next)))
}

async fn in_turn(places: Arc<Semaphore>, request: Request<Body>, next: Next) -> Response {
    match tokio::time::timeout(PLACE_TIMEOUT, places.acquire_owned()).await {
        Ok(Ok(place)) => next.run(request).await.map(|body| Body::new(Placed { body, _place: place })),
        Ok(Err(_)) | Err(_) => {
            let words =
                "too many large answers are under way: ask one after the other, and for one service or host";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, words).into_response()
        }
    }
}

/// An answer that has a place until it has been read, or its connection is gone.
struct Placed {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Placed {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a request may do something.
async fn of_no_page(request: Request<Body>, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let headers = request.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let words = "what is posted here is JSON and says so: Content-Type: application/json";
        return ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words).into_response();
    }
    if headers.contains_key(header::ORIGIN) {
        let words = "web pages may do nothing here: use chandler, curl or a script";
        return ApiError::new(StatusCode::FORBIDDEN, words).into_response();
    }
    next.run(request).await
}

async fn unknown(request: Request) -> ApiError {
    let words = format!("there is nothing at {}: / lists what there is", request.uri().path());
    ApiError::new(StatusCode::NOT_FOUND, words)
}

async fn guard(request: Request<Body>, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let words = format!("{} is not possible here: everything is read only", request.method());
        let mut refused = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, words).into_response();
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    if !request.body().is_end_stream() {
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "no request here takes a body").into_response();
    }
    in_time(request, next).await
}

async fn in_time(request: Request<Body>, next: Next) -> Response {
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "this took too long").into_response(),
    };
    // Every answer is of this instant.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
