//! What the tests of this folder look at.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Chandler, PATIENCE, Pilot, SINK_ENTRIES, eventually};

/// How long nothing may happen before it counts as calm: longer than Chandler and Pilot together gather changes.
pub(crate) const CALM: Duration = Duration::from_millis(1500);

pub(crate) const WEB: &str = "web.example.internal";
pub(crate) const BESIDE: &str = "beside.example.internal";

/// The service `web` with these endpoints, written in YAML.
pub(crate) fn web(endpoints: &[&str]) -> String {
    format!(
        "services:\n- name: web\n  hosts: [{WEB}]\n  ports: [{{number: 8080, protocol: HTTP}}]\n  endpoints: [{}]\n",
        endpoints.join(", ")
    )
}

/// A service with one endpoint.
pub(crate) fn service(name: &str, address: &str) -> String {
    format!(
        "services:\n- name: {name}\n  hosts: [{name}.example.internal]\n  ports: [{{number: 8081, protocol: TCP}}]\n  \
         endpoints: [{{address: {address}}}]\n"
    )
}

/// A hundred services with two endpoints each.
pub(crate) fn hundred() -> String {
    let one = |n: usize| {
        format!(
            "- name: s{n}\n  hosts: [s{n}.example.internal]\n  ports: [{{number: 8080, protocol: HTTP}}]\n  \
             endpoints: [{{address: 10.1.{n}.1}}, {{address: 10.1.{n}.2, ports: {{http-8080: 18080}}}}]\n"
        )
    };
    format!("services:\n{}", (0..100).map(one).collect::<String>())
}

/// Waits until Pilot has made a service of each of these hosts, and of no other.
pub(crate) async fn hosts_are(pilot: &Pilot, hosts: &[&str]) {
    let what = format!("{hosts:?} as the hosts in registryz");
    eventually(&what, PATIENCE, async || (pilot.hosts().await == hosts).then_some(())).await;
}

/// What Chandler serves of ServiceEntries: name to version.
pub(crate) async fn served(chandler: &Chandler) -> Value {
    let rows = chandler.api("/api/v1/resources?collection=serviceentries").await;
    let rows = rows.as_array().unwrap_or_else(|| panic!("no list: {rows:.300}"));
    rows.iter()
        .map(|row| (row["name"].as_str().expect("a name").to_owned(), row["version"].clone()))
        .collect()
}

/// The counts of a map but for that of ServiceEntries.
pub(crate) fn but_entries(
    mut acks: std::collections::BTreeMap<String, f64>,
) -> std::collections::BTreeMap<String, f64> {
    acks.remove(SINK_ENTRIES);
    acks
}
