//! An istiod that starts: it exits where nobody listens, waits where nobody answers, and needs every answer to get ready.

use crate::support::{Age, Chandler, Istiod, PATIENCE, eventually};
use crate::view::{entry_where, is_service_entries, watches};

const WEB: &str = "
services:
- name: web
  hosts: [web.example.internal]
  ports: [{number: 8080, protocol: HTTP}]
  endpoints: [{address: 10.0.0.5}]
";

both_ages!(
    istiod_gets_ready_with_nothing_to_serve,
    cold_start_with_istiod_first_ends_well,
    istiod_waits_for_a_registry_that_is_not_read_yet,
);

async fn istiod_gets_ready_with_nothing_to_serve(age: Age) {
    let chandler = Chandler::start("", &[]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    assert_eq!(istiod.config("ServiceEntry", "chandler", "web.example.internal").await, None);
    let kinds = if age == Age::Newest { 15 } else { 14 };
    eventually("every acknowledgement", PATIENCE, async || {
        let all = watches(&chandler).await;
        (all.len() == kinds && all.iter().all(|watch| watch["state"] == "SYNCED")).then_some(())
    })
    .await;
}

async fn cold_start_with_istiod_first_ends_well(age: Age) {
    let builder = Chandler::build().service_file("web.yaml", WEB);
    // Its ports are known, and nobody listens there.
    let mut chandler = builder.start().await;
    chandler.terminate().await;
    let mut istiod = Istiod::build(age, chandler.grpc).start_unready().await;
    let status = istiod.process().wait().await;
    assert!(!status.success(), "{status}");
    chandler.start_again().await;
    istiod.restart().await;
    entry_where(&istiod, "web.example.internal", "the entry", |_| true).await;
}

async fn istiod_waits_for_a_registry_that_is_not_read_yet(age: Age) {
    // Broken from the start, with nothing known of it: to answer now would be to delete what it says.
    let mut chandler =
        Chandler::start("", &[("broken.yaml", "services: [{name: web"), ("web.yaml", WEB)]).await;
    assert_eq!(chandler.telemetry("/syncz").await.status, 503);
    let mut istiod = Istiod::build(age, chandler.grpc).start_unready().await;
    let all = eventually("answers for all that no registry feeds", PATIENCE, async || {
        let all = watches(&chandler).await;
        let answered = all.iter().filter(|watch| watch["state"] == "SYNCED").count();
        (answered + 2 == all.len() && answered >= 12).then_some(all)
    })
    .await;
    assert!(all.iter().any(|watch| is_service_entries(watch) && watch["state"] == "NOT SENT"), "{all:#?}");
    assert!(!istiod.place().listens(istiod.grpc_addr()).await, "it serves proxies without our services");
    assert!(istiod.process().exited().is_none());

    chandler.write_services("broken.yaml", "services: []\n");
    istiod.await_ready().await;
    chandler.synced().await;
    entry_where(&istiod, "web.example.internal", "the entry", |_| true).await;
}
