//! What no decent client does: it gets a clear status, and nobody else notices.

use crate::support::{Chandler, Place, Probe, Sotw};
use crate::{SERVICES, responses, services};

/// Chandler still answers, and a new client gets everything.
async fn unharmed(chandler: &mut Chandler) {
    assert_eq!(chandler.telemetry("/healthz").await.status, 200);
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    assert_eq!(client.response(SERVICES).await["count"], 1);
    assert!(chandler.process().exited().is_none());
    assert!(!chandler.log_contains("panicked"));
}

async fn one(config: &str) -> Chandler {
    Chandler::start(config, &[("services.yaml", &services(&[1]))]).await
}

#[tokio::test]
async fn bytes_that_are_no_request_are_refused() {
    needs!(Probe);
    let mut chandler = one("").await;
    let server = chandler.grpc.to_string();
    for method in ["StreamAggregatedResources", "DeltaAggregatedResources"] {
        for bytes in ["ffffffff", "0a05", "22ffffffff0f", "0801"] {
            let arguments = ["garbage", "-server", &server, "-wire", method, "-bytes", bytes];
            let mut client = Probe::start(&Place::Host, arguments);
            let (code, message) = client.closed().await;
            assert_eq!(code, "InvalidArgument", "{method} {bytes}: {message}");
            assert!(!message.is_empty());
        }
    }
    unharmed(&mut chandler).await;
}

#[tokio::test]
async fn request_over_the_limit_is_refused_with_the_limit() {
    needs!(Probe);
    let mut chandler = one("").await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    client.response(SERVICES).await;
    // 7 bytes each on the wire: 18 MB, and the limit is 16 MiB.
    client.tell(&format!("names {}", vec!["names"; 2_600_000].join(","))).await;
    let (code, message) = client.closed().await;
    assert!(["ResourceExhausted", "OutOfRange"].contains(&code.as_str()), "{code}: {message}");
    assert!(message.contains("16777216"), "{message}");
    unharmed(&mut chandler).await;
}

/// Asks for so many types that nobody knows, on one stream; how that ends.
async fn asked_for_types(chandler: &Chandler, count: usize) -> (String, String) {
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    client.response(SERVICES).await;
    let types: Vec<_> = (0..count).map(|n| format!("fruit.example/v1/Banana{n}")).collect();
    client.tell(&format!("request {}", types.join(","))).await;
    client.closed().await
}

#[tokio::test]
async fn stream_that_asks_for_too_much_ends_with_a_clear_status() {
    needs!(Probe);
    let mut chandler = one("").await;
    let (code, message) = asked_for_types(&chandler, 100).await;
    assert_eq!(code, "ResourceExhausted", "{message}");
    // So many at once that the connection may be ended before the stream is.
    let (code, message) = asked_for_types(&chandler, 10_000).await;
    let calm_down = code == "Unavailable" && message.contains("ENHANCE_YOUR_CALM");
    assert!(code == "ResourceExhausted" || calm_down, "{code}: {message}");
    unharmed(&mut chandler).await;
}

#[tokio::test]
async fn client_that_never_reads_costs_the_others_nothing() {
    needs!(Probe);
    let ports: Vec<u16> = (0..10_000).map(|n| 1 + n).collect();
    let mut chandler = Chandler::start("", &[("services.yaml", &services(&ports))]).await;
    chandler.synced().await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES, "-no-read"]);
        client.next_where("its request", |line| line["event"] == "stalled").await;
        stalled.push(client);
    }
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES, "-brief"]);
    for port in [1, 2, 3] {
        assert_eq!(client.response(SERVICES).await["count"], 10_000);
        let mut ports = ports.clone();
        ports[7] = port;
        chandler.write_services("services.yaml", &services(&ports));
    }
    assert!(chandler.terminate().await.success(), "they do not keep it from ending");
}

#[tokio::test]
async fn half_closed_stream_is_answered_and_ends_well() {
    needs!(Probe);
    let mut chandler = one("").await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    client.response(SERVICES).await;
    client.tell("half-close").await;
    let (code, message) = client.closed().await;
    assert_eq!(code, "OK", "{message}");
    unharmed(&mut chandler).await;
    assert!(responses(&client.so_far()).is_empty());
}

#[tokio::test]
async fn request_without_a_type_is_refused() {
    needs!(Probe);
    let mut chandler = one("").await;
    // An empty message.
    let server = chandler.grpc.to_string();
    let mut client = Probe::start(&Place::Host, ["garbage", "-server", &server, "-bytes", ""]);
    let (code, message) = client.closed().await;
    assert_eq!(code, "InvalidArgument", "{message}");
    unharmed(&mut chandler).await;
}
