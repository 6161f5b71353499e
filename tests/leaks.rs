//! What streams leave behind: counted, and measured in a process of its own.

// clippy.toml allows these in tests; it does not see that every function here serves one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "limits/rig.rs"]
mod rig;

use std::sync::Arc;

use chandler::limit::{Limits, Rate};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use crate::rig::{Client, NOTHING, Rig, Rules, SE, Stream, ack, guarded, snapshot};

/// Ways to leave a stream.
const WAYS: usize = 8;

async fn abandon(client: &mut Client, way: usize, patient: bool) {
    let (out, requests) = mpsc::channel(32);
    let mut request = Request::new(ReceiverStream::new(requests));
    if way == 5 || way == 6 {
        request.metadata_mut().insert("authorization", "Bearer bad".parse().unwrap());
    }
    let responses = client.stream_aggregated_resources(request).await.unwrap().into_inner();
    let mut stream = Stream { out, responses };
    match way {
        // Without a request.
        0 => {}
        1 => drop(stream.half_close()),
        // Before the answer, and after it, without an acknowledgement.
        2 => stream.ask(SE).await,
        3 => {
            stream.ask(SE).await;
            stream.next().await;
        }
        // Refused for what it asks, and mostly not waiting to hear it.
        4 => {
            stream.ask("").await;
            if patient {
                assert_eq!(stream.end().await.code(), Code::InvalidArgument);
            }
        }
        // Refused at the door, the same.
        5 | 6 => {
            if patient {
                assert_eq!(stream.end().await.code(), Code::Unauthenticated);
            }
        }
        // As it should be.
        _ => {
            stream.ask(SE).await;
            let response = stream.next().await;
            stream.send(ack(&response)).await;
            assert_eq!(stream.half_close().end().await.code(), Code::Ok);
        }
    }
}

/// Over 20 connections.
async fn abandon_many(rig: &Arc<Rig>, count: usize) {
    let mut all = JoinSet::new();
    for first in 0..20 {
        let rig = Arc::clone(rig);
        all.spawn(async move {
            let mut client = rig.connection().await;
            for n in (first..count).step_by(20) {
                // Each waits a second.
                let patient = n % 1000 < 20;
                abandon(&mut client, n / 20 % WAYS, patient).await;
            }
        });
    }
    all.join_all().await;
    rig.until("nothing is left", |rig| rig.deps.census() == NOTHING && rig.status.clients().is_empty()).await;
}

/// Bytes in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn ten_thousand_abandoned_streams_leave_nothing_behind() {
    // So that the rates are kept and nobody is refused by one.
    let limits = Limits { stream_opens: Rate::new(100_000, 100_000), ..Limits::default() };
    let rig = Arc::new(guarded(limits, Rules::forbidding(&[])).await);
    rig.store.publish(snapshot(10_000));
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    abandon_many(&rig, 2000).await;
    rig.until("connections end", |_| tasks() == 1).await;
    let before = resident();
    abandon_many(&rig, 10_000).await;
    rig.until("connections end", |_| tasks() == 1).await;
    let growth = resident().saturating_sub(before);
    assert!(growth < 4 << 20, "{growth} bytes more than after the first 2,000");
    assert!(rig.metric("streams_refused_total{reason=\"unauthenticated\"}") > 1000);
    let mut stream = rig.stream().await;
    stream.ask(SE).await;
    assert_eq!(stream.next().await.resources.len(), 1);
}
