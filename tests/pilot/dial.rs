//! We dial: the reference sink server is told what a Pilot that dials us would be told.

use crate::support::{Certificates, Chandler, RefSink, SINK_ENTRIES, free_address};
use crate::view::{hundred, served, service};

#[tokio::test]
async fn reference_sink_server_is_told_everything() {
    needs!(RefSink);
    for flags in [&[][..], &["-incremental"]] {
        let (mut sink, address) = RefSink::listen(flags).await;
        let chandler = Chandler::build()
            .server(&format!("mcp: {{dial: [{{address: '{address}'}}]}}"))
            .service_file("hundred.yaml", &hundred())
            .start()
            .await;
        assert_eq!(sink.update(SINK_ENTRIES).await["held"], 100);
        chandler.write_services("late.yaml", &service("late", "10.0.0.7"));
        let update = sink.update(SINK_ENTRIES).await;
        assert_eq!(update["held"], 101);
        assert_eq!(update["incremental"], !flags.is_empty());
        assert_eq!(sink.held(SINK_ENTRIES).await["resources"], served(&chandler).await);
        assert_eq!(sink.report().await["counts"]["faults"], 0);
    }
}

#[tokio::test]
async fn sink_server_is_dialled_over_mutual_tls() {
    needs!(RefSink);
    let certificates = Certificates::create();
    let path = |name: &str| certificates.argument(name);
    let (ca, certificate, key) = (path("ca.pem"), path("server.pem"), path("server.key"));
    let (mut sink, address) = RefSink::listen(&["-ca", &ca, "-cert", &certificate, "-key", &key]).await;
    let tls = format!("caFile: {ca}, certFile: {}, keyFile: {}", path("client.pem"), path("client.key"));
    let _chandler = Chandler::build()
        .server(&format!("mcp: {{dial: [{{address: '{address}', tls: {{{tls}}}}}]}}"))
        .service_file("hundred.yaml", &hundred())
        .start()
        .await;
    assert_eq!(sink.update(SINK_ENTRIES).await["held"], 100);
}

/// Whichever of the two starts last, and whichever is restarted.
#[tokio::test]
async fn sink_server_that_comes_late_or_again_is_dialled() {
    needs!(RefSink);
    let address = free_address();
    let chandler = Chandler::build()
        .server(&format!("mcp: {{dial: [{{address: '{address}'}}]}}"))
        .service_file("hundred.yaml", &hundred())
        .start()
        .await;
    for _ in 0..2 {
        let mut sink = RefSink::listen_at(address, &[]).await;
        assert_eq!(sink.update(SINK_ENTRIES).await["held"], 100);
        assert_eq!(sink.report().await["counts"]["faults"], 0);
        sink.lines().stop().await;
    }
    assert_eq!(served(&chandler).await.as_object().expect("by name").len(), 100);
}
