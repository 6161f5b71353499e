//! A client of ours over delta xDS, which is told what changed and nothing else, and acknowledges at once.

use std::net::SocketAddr;

use chandler::proto::core::Node;
use chandler::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as Client;
use chandler::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

const SERVICE_ENTRY: &str = "networking.istio.io/v1/ServiceEntry";

/// A stream that stays open.
pub(crate) struct Watcher {
    said: mpsc::UnboundedReceiver<(Instant, DeltaDiscoveryResponse)>,
    /// Resources that went.
    pub(crate) removed: usize,
    /// What was passed over since the last text that was waited for.
    passed: Vec<(Instant, DeltaDiscoveryResponse)>,
    _task: JoinSet<()>,
}

impl Watcher {
    pub(crate) fn start(at: SocketAddr) -> Self {
        let (out, said) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let channel = tonic::transport::Endpoint::try_from(format!("http://{at}")).unwrap();
            let window = 1 << 20;
            let channel = channel.initial_stream_window_size(window).initial_connection_window_size(window);
            let channel = channel.connect().await.unwrap();
            let mut client = Client::new(channel).max_decoding_message_size(usize::MAX);
            let (ask, requests) = mpsc::channel(4);
            let request = DeltaDiscoveryRequest {
                node: Some(Node { id: "bench".into(), ..Node::default() }),
                type_url: SERVICE_ENTRY.into(),
                ..DeltaDiscoveryRequest::default()
            };
            ask.send(request).await.unwrap();
            let answers = client.delta_aggregated_resources(ReceiverStream::new(requests)).await;
            let mut answers = answers.unwrap().into_inner();
            while let Ok(Some(answer)) = answers.message().await {
                let acknowledgement = DeltaDiscoveryRequest {
                    type_url: SERVICE_ENTRY.into(),
                    response_nonce: answer.nonce.clone(),
                    ..DeltaDiscoveryRequest::default()
                };
                ask.send(acknowledgement).await.unwrap();
                if out.send((Instant::now(), answer)).is_err() {
                    return;
                }
            }
        });
        Self { said, removed: 0, passed: Vec::new(), _task: task }
    }

    /// How many resources the next response has, and when it was acknowledged.
    pub(crate) async fn next(&mut self) -> (Instant, usize) {
        let (at, response) = self.said.recv().await.expect("an open stream");
        (at, response.resources.len())
    }

    /// When the first response was acknowledged that has this text in one of its resources.
    pub(crate) async fn sees(&mut self, text: &str) -> Instant {
        self.passed.clear();
        loop {
            let (at, response) = self.said.recv().await.expect("an open stream");
            self.removed += response.removed_resources.len();
            let found = has(&response, text);
            self.passed.push((at, response));
            if found {
                return at;
            }
        }
    }

    /// The same, where that was among what the last wait passed over.
    pub(crate) fn already(&self, text: &str) -> Option<Instant> {
        self.passed.iter().find(|(_, response)| has(response, text)).map(|(at, _)| *at)
    }
}

fn has(response: &DeltaDiscoveryResponse, text: &str) -> bool {
    let mut bodies = response.resources.iter().filter_map(|r| r.resource.as_ref());
    bodies.any(|b| b.value.windows(text.len()).any(|w| w == text.as_bytes()))
}
