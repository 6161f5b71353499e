//! A Pilot gets ready, has what was published, and has it right.

use serde_json::json;

use crate::support::{Certificates, Chandler, PATIENCE, Pilot, Release, eventually};
use crate::view::{BESIDE, WEB, hosts_are, hundred, service, web};

every_release!(
    pilot_gets_ready_where_there_is_nothing,
    pilot_has_what_was_published,
    pilot_has_it_over_mutual_tls,
    pilot_with_a_foreign_certificate_gets_nothing,
    pilot_that_may_not_come_is_not_let_spin,
    pilot_that_speaks_plaintext_to_tls_gets_nothing,
);

async fn pilot_gets_ready_where_there_is_nothing(release: Release) {
    let chandler = Chandler::start("", &[]).await;
    let pilot = Pilot::start(release, chandler.grpc).await;
    assert_eq!(pilot.objects().await, Vec::<String>::new());
    // It may be ready a moment before it has sent the last of them.
    let acks = eventually("an acknowledgement of each", PATIENCE, async || {
        Some(pilot.acks().await).filter(|acks| acks.len() == release.collections())
    })
    .await;
    assert!(acks.values().all(|count| *count == 1.0), "each once: {acks:?}");
    assert!(pilot.nacks().await.is_empty());
}

async fn pilot_has_what_was_published(release: Release) {
    let two = web(&["{address: 10.0.0.5, ports: {http-8080: 18080}}", "{address: 10.0.0.6}"]);
    let chandler =
        Chandler::start("", &[("web.yaml", &two), ("beside.yaml", &service("beside", "10.0.0.9"))]).await;
    check(Pilot::start(release, chandler.grpc).await).await;
}

async fn pilot_has_it_over_mutual_tls(release: Release) {
    let certificates = Certificates::create();
    let two = web(&["{address: 10.0.0.5, ports: {http-8080: 18080}}", "{address: 10.0.0.6}"]);
    let chandler = Chandler::build()
        .listener(&certificates.listener())
        .service_file("web.yaml", &two)
        .service_file("beside.yaml", &service("beside", "10.0.0.9"))
        .start()
        .await;
    check(Pilot::build(release, chandler.grpc).mutual_tls(&certificates.client()).start().await).await;
}

async fn check(pilot: Pilot) {
    let objects = pilot.configz().await;
    let keys: Vec<_> = objects.keys().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
    assert_eq!(keys, [format!("chandler/{BESIDE}"), format!("chandler/{WEB}")]);
    let web = &objects[&("chandler".to_owned(), WEB.to_owned())];
    let spec = web.get("spec").or_else(|| web.get("Spec")).expect("a spec");
    assert_eq!(spec["hosts"], json!([WEB]));
    assert_eq!(spec["resolution"], "STATIC");
    assert_eq!(spec["endpoints"][0]["ports"], json!({"http-8080": 18080}));
    hosts_are(&pilot, &[BESIDE, WEB]).await;
    pilot.endpoints_are(WEB, &["10.0.0.5:18080", "10.0.0.6:8080"]).await;
    pilot.endpoints_are(BESIDE, &["10.0.0.9:8081"]).await;
    let told = [("10.0.0.5", 18080, "disabled"), ("10.0.0.6", 8080, "disabled")];
    eventually("the same as what proxies are told", PATIENCE, async || {
        let shards = pilot.shards(WEB).await;
        shards
            .iter()
            .map(|one| (one.address.as_str(), one.port, one.tls_mode.as_str()))
            .eq(told)
            .then_some(())
    })
    .await;
    assert!(!pilot.log_contains("Discarding incoming MCP resource"), "it dropped something");
    assert!(pilot.nacks().await.is_empty());
}

/// It is told nothing and stays as it is: never ready, and never served emptiness.
async fn pilot_with_a_foreign_certificate_gets_nothing(release: Release) {
    let certificates = Certificates::create();
    let chandler = Chandler::build()
        .listener(&certificates.listener())
        .service_file("many.yaml", &hundred())
        .start()
        .await;
    let mut stranger = certificates.client();
    let foreign = Certificates::create();
    (stranger.certificate, stranger.key) = (foreign.path("client.pem"), foreign.path("client.key"));
    let pilot = Pilot::build(release, chandler.grpc).mutual_tls(&stranger).start_unready();
    turned_away(&chandler, "chandler_tls_handshake_failures_total", 2.0).await;
    assert!(!pilot.is_ready().await);
    // The right one is not kept waiting by it.
    let right = Pilot::build(release, chandler.grpc).mutual_tls(&certificates.client()).start().await;
    assert_eq!(right.hosts().await.len(), 100);
}

/// Waits until a counter of Chandler's is so high, over all its labels.
async fn turned_away(chandler: &Chandler, counter: &str, times: f64) {
    eventually(&format!("{counter} to reach {times}"), PATIENCE, async || {
        let metrics = chandler.telemetry("/metrics").await.body;
        let counted = metrics.lines().filter(|line| line.starts_with(counter));
        let sum: f64 = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
        (sum >= times).then_some(())
    })
    .await;
}

/// From 1.6 on it comes back at once, for ever: thousands of streams a second, were they ended at once.
async fn pilot_that_may_not_come_is_not_let_spin(release: Release) {
    let certificates = Certificates::create();
    let nobody = certificates.listener().replace("sa/istio-pilot", "sa/somebody-else");
    let chandler = Chandler::build().listener(&nobody).service_file("many.yaml", &hundred()).start().await;
    let pilot = Pilot::build(release, chandler.grpc).mutual_tls(&certificates.client()).start_unready();
    turned_away(&chandler, "chandler_streams_refused_total", 1.0).await;
    let since = tokio::time::Instant::now();
    turned_away(&chandler, "chandler_streams_refused_total", 5.0).await;
    assert!(since.elapsed() > std::time::Duration::from_secs(3), "four streams within {:?}", since.elapsed());
    assert!(!pilot.is_ready().await);
}

async fn pilot_that_speaks_plaintext_to_tls_gets_nothing(release: Release) {
    let certificates = Certificates::create();
    let chandler = Chandler::build()
        .listener(&certificates.listener())
        .service_file("many.yaml", &hundred())
        .start()
        .await;
    let pilot = Pilot::build(release, chandler.grpc).start_unready();
    turned_away(&chandler, "chandler_tls_handshake_failures_total", 2.0).await;
    assert!(!pilot.is_ready().await);
}
