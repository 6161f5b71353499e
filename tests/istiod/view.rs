//! What the tests look at: an istiod's objects, a Chandler's clients, the bytes on the wire.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Age, Chandler, Istiod, PATIENCE, Place, Sotw, eventually};

/// Nothing was pushed for so long: then nothing more comes. istiod gathers for 100 ms, Chandler for 100 ms or a second.
pub(crate) const CALM: Duration = Duration::from_millis(1500);

/// One of what `configz` holds, by the name of the object.
pub(crate) fn entry<'a>(all: &'a [Value], host: &str) -> Option<&'a Value> {
    all.iter().find(|one| one["kind"] == "ServiceEntry" && one["metadata"]["name"] == host)
}

/// Waits until istiod holds an entry for `host` of which `accept` approves.
pub(crate) async fn entry_where(
    istiod: &Istiod,
    host: &str,
    what: &str,
    accept: impl Fn(&Value) -> bool,
) -> Value {
    let all = istiod.config_where(what, |all| entry(all, host).is_some_and(&accept)).await;
    entry(&all, host).expect("it was there a moment ago").clone()
}

/// Waits until istiod holds no entry for `host`.
pub(crate) async fn entry_gone(istiod: &Istiod, host: &str) {
    istiod.config_where(&format!("the end of {host}"), |all| entry(all, host).is_none()).await;
}

/// Waits until istiod has acknowledged the services that Chandler serves now.
pub(crate) async fn taken_by_istiod(chandler: &Chandler) {
    eventually("istiod's acknowledgement", PATIENCE, async || {
        watches(chandler).await.iter().any(|w| is_service_entries(w) && w["state"] == "SYNCED").then_some(())
    })
    .await;
}

/// Everything that clients watch.
pub(crate) async fn watches(chandler: &Chandler) -> Vec<Value> {
    let clients = chandler.api("/api/v1/clients").await;
    let clients = clients.as_array().expect("a list of clients").clone();
    clients.iter().flat_map(|client| client["watches"].as_array().cloned().unwrap_or_default()).collect()
}

/// Whether a watch is for services.
pub(crate) fn is_service_entries(watch: &Value) -> bool {
    watch["collection"] == "serviceentries"
}

/// The digest of all services as they go over the wire, and the version of each resource.
pub(crate) async fn wire(chandler: &Chandler) -> (Value, Vec<(Value, Value)>) {
    let asked = Age::Newest.networking("ServiceEntry");
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", &asked]);
    let response = client.response(&asked).await;
    client.stop().await;
    let resources = response["resources"].as_array().cloned().unwrap_or_default();
    let versions = resources.iter().map(|one| (one["name"].clone(), one["version"].clone())).collect();
    (response["sha256"].clone(), versions)
}

/// Everything that istiod holds, in an order of ours: `configz` has none.
pub(crate) async fn held(istiod: &Istiod) -> Vec<Value> {
    let mut all = istiod.configz().await;
    all.sort_by_key(|one| ["kind", "metadata"].map(|key| one[key].to_string()));
    all
}

/// Waits for a row of `/api/v1/services` of which `accept` approves.
pub(crate) async fn reported(chandler: &Chandler, what: &str, accept: impl Fn(&Value) -> bool) -> Value {
    eventually(what, PATIENCE, async || {
        let services = chandler.api("/api/v1/services").await;
        services.as_array().expect("a list of services").iter().find(|one| accept(one)).cloned()
    })
    .await
}

/// Waits for a line of `/metrics`.
pub(crate) async fn metric_line(chandler: &Chandler, line: &str) {
    let what = format!("the metric {line:?}");
    eventually(&what, PATIENCE, async || {
        chandler.telemetry("/metrics").await.body.lines().any(|one| one == line).then_some(())
    })
    .await;
}
