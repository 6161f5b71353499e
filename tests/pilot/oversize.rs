//! A collection that is more than a Pilot receives in one message, 4 MiB unless it was told otherwise.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Chandler, PATIENCE, Pilot, Release, eventually};

/// Few services, of many endpoints: a Pilot's work grows with the square of the number of services.
const SERVICES: usize = 400;
const ENDPOINTS: usize = 250;

every_release!(pilot_that_cannot_receive_it_is_not_let_spin_and_one_that_can_has_it);

fn many() -> String {
    let endpoint = |n: usize, m: usize| {
        format!("{{address: 10.{}.{}.{}, labels: {{version: v1-of-some-length}}}}", n / 250, n % 250, m + 1)
    };
    (0..SERVICES).fold("services:\n".to_owned(), |mut text, n| {
        let endpoints: Vec<String> = (0..ENDPOINTS).map(|m| endpoint(n, m)).collect();
        writeln!(
            text,
            "- {{name: s{n}, hosts: [s{n}.example.internal], ports: [{{number: 80, protocol: HTTP}}], endpoints: [{}]}}",
            endpoints.join(", ")
        )
        .expect("a string takes everything");
        text
    })
}

/// The streams that were opened so far.
fn opened(chandler: &mut Chandler) -> usize {
    chandler.process().log().matches("stream opened").count()
}

async fn pilot_that_cannot_receive_it_is_not_let_spin_and_one_that_can_has_it(release: Release) {
    let mut chandler = Chandler::start("", &[("many.yaml", &many())]).await;
    chandler.synced().await;
    let mut pilot = Pilot::build(release, chandler.grpc).start_unready();
    eventually("its second stream", PATIENCE, async || (opened(&mut chandler) >= 2).then_some(())).await;
    let since = Instant::now();
    eventually("its sixth stream", PATIENCE, async || (opened(&mut chandler) >= 6).then_some(())).await;
    let took = since.elapsed();
    assert!(took > Duration::from_secs(2), "four more streams within {took:?}");
    assert!(!pilot.is_ready().await);
    // What to do about it.
    chandler.process().wait_for_log("a larger --mcpMaxMsgSize").await;
    pilot.process().kill().await;

    let able = Pilot::build(release, chandler.grpc).argument("--mcpMaxMsgSize=67108864").start().await;
    assert_eq!(able.objects().await.len(), SERVICES);
}
