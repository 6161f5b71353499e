//! Triple, which is gRPC: the service of 3.3 with protobuf, and the older one whose hessian2 is wrapped in protobuf.

use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::answer::{MetadataInfo, RevisionRequest, WrappedRequest, WrappedResponse, from_hessian};
use super::hessian::{Reader, write_text};
use super::{MAX_ANSWER, TIMEOUT};
use crate::registry::zookeeper::layout::dubbo::metadata::Metadata;

/// The call of 3.3.
const NEW: &str = "/org.apache.dubbo.metadata.MetadataServiceV2/GetMetadataInfo";
/// The call of 3.0 to 3.2.
const OLD: &str = "/org.apache.dubbo.metadata.MetadataService/getMetadataInfo";
/// What Triple calls hessian2 in a wrapper.
const HESSIAN2: &str = "hessian4";

async fn connect(authority: &str) -> Result<Grpc<Channel>, String> {
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))
        .map_err(|_| "its address makes no URL".to_owned())?
        .connect_timeout(TIMEOUT)
        // One call for each connection; small windows are enough for an answer and bound what is held of one.
        .initial_stream_window_size(1 << 20)
        .http2_keep_alive_interval(Duration::from_secs(60));
    let channel = endpoint.connect().await.map_err(|_| "nobody takes the connection".to_owned())?;
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
    grpc.ready().await.map_err(|e| format!("the connection broke: {e}"))?;
    Ok(grpc)
}

fn failed(status: &Status) -> String {
    match status.code() {
        Code::OutOfRange => format!("it answers with more than {MAX_ANSWER} bytes"),
        code => format!("it answers with gRPC status {}", i32::from(code)),
    }
}

/// Asks as 3.3 is asked.
pub(super) async fn call(authority: &str, revision: &str) -> Result<Metadata, String> {
    let mut grpc = connect(authority).await?;
    let request = Request::new(RevisionRequest { revision: revision.to_owned() });
    let codec: ProstCodec<RevisionRequest, MetadataInfo> = ProstCodec::default();
    let answer = grpc.unary(request, PathAndQuery::from_static(NEW), codec).await.map_err(|e| failed(&e))?;
    Ok(answer.into_inner().into_metadata())
}

/// Asks as 3.0 to 3.2 are asked.
pub(super) async fn call_wrapped(
    authority: &str,
    application: &str,
    version: &str,
    revision: &str,
) -> Result<Metadata, String> {
    let mut grpc = connect(authority).await?;
    let mut argument = Vec::new();
    write_text(&mut argument, revision);
    let mut request = Request::new(WrappedRequest {
        serialization: HESSIAN2.into(),
        arguments: vec![argument],
        types: vec!["java.lang.String".into()],
    });
    for (key, value) in [("tri-service-version", version), ("tri-service-group", application)] {
        // What no header can carry is no name of an application that Triple could find.
        if let Ok(value) = AsciiMetadataValue::try_from(value) {
            request.metadata_mut().insert(key, value);
        }
    }
    let codec: ProstCodec<WrappedRequest, WrappedResponse> = ProstCodec::default();
    let answer = grpc.unary(request, PathAndQuery::from_static(OLD), codec).await.map_err(|e| failed(&e))?;
    let answer = answer.into_inner();
    if answer.serialization != HESSIAN2 && answer.serialization != "hessian2" {
        return Err("it answers in another serialization than hessian2".into());
    }
    from_hessian(&mut Reader::new(&answer.data))
}

#[cfg(test)]
mod tests;
