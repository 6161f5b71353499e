//! What holds for every request: reading only, no body, an answer in time, errors in one form.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;

/// All answers come from memory; what takes longer than this is stuck.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

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
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "this took too long").into_response(),
    };
    // Every answer is of this instant.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
