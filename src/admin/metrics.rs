//! `/metrics`: what parts of the program have counted, and what the pipeline, the registries and the clients are now.
//!
//! The latter is asked for at each scrape instead of being kept in step: it cannot differ from what `status` shows,
//! and rows of what is gone vanish by themselves.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::admin::http::ApiError;
use crate::admin::{AdminState, asked};
use crate::model::service::RegistryName;
use crate::pipeline::report::RegistryReport;
use crate::resource::collection::Collection;
use crate::resource::snapshot::Snapshot;
use crate::runtime::status::{ClientStatus, RegistryStatus, SinkStatus};
use crate::telemetry::CONTENT_TYPE;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRegistry {
    registry: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSink {
    sink: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWire {
    wire: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCollection {
    collection: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

pub(super) async fn metrics(State(state): State<AdminState>) -> Result<impl IntoResponse, ApiError> {
    // A stuck pipeline must not take the rest of the metrics with it.
    let reports = asked(state.questions.registries()).await;
    let (mut registries, clients) = (state.status.registries(), state.status.clients());
    if let Some(reports) = &reports {
        // A life that is just ending may still say how it was after its registry had been forgotten.
        registries.retain(|name, _| reports.iter().any(|r| r.name == name.as_str()));
    }
    let (snapshot, sinks) = (state.store.current(), state.status.sinks());
    let text = state.metrics.encode(|now| {
        adapters(&registries, now);
        contents(reports.as_deref().unwrap_or_default(), now);
        connected(&clients, now);
        served(&snapshot, now);
        pushed(&sinks, now);
    });
    let text = text.map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}

fn adapters(registries: &BTreeMap<RegistryName, RegistryStatus>, now: &mut Registry) {
    let up = Family::<OfRegistry, Gauge>::default();
    let last = Family::<OfRegistry, Seconds>::default();
    let failures = Family::<OfRegistry, Counter>::default();
    for (name, status) in registries {
        let label = OfRegistry { registry: name.to_string() };
        up.get_or_create(&label).set(status.up.into());
        failures.get_or_create(&label).inc_by(status.failures);
        if let Some(since) = status.last_success.and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            last.get_or_create(&label).set(since.as_secs_f64());
        }
    }
    now.register("registry_up", "Whether the registry's adapter runs without complaint", up);
    let help = "When the registry last said anything, in seconds since 1970";
    now.register("registry_last_success_timestamp_seconds", help, last);
    now.register("registry_failures", "Lives of the registry's adapter that ended by themselves", failures);
}

fn contents(reports: &[RegistryReport], now: &mut Registry) {
    /// What is read off a report, as a metric's name and help.
    type Column = (&'static str, &'static str, fn(&RegistryReport) -> usize);
    const COLUMNS: [Column; 10] = [
        ("registry_complete", "Whether the registry has been read completely", |r| r.complete.into()),
        (
            "registry_given_up",
            "Whether the mesh is served without the registry, optional and not read in time",
            |r| r.given_up.into(),
        ),
        ("registry_services", "Services of the registry that are taken", |r| r.services),
        ("registry_left_out_services", "Services of the registry that are left out on purpose", |r| {
            r.left_out
        }),
        ("registry_endpoints", "Endpoints of the registry's services", |r| r.endpoints),
        ("registry_objects", "Whole objects that the registry holds", |r| r.objects),
        ("held_endpoints", "Endpoints kept although the registry does not show them any more", |r| {
            r.held_endpoints
        }),
        (
            "registry_over_limit",
            "Services and objects that are not taken because there are more than limits allows",
            |r| r.over_limit,
        ),
        ("registry_frozen", "Whether a person froze the registry or services of it", |r| r.frozen.into()),
        ("rejected_resources", "Items and resources that were refused", |r| r.refused),
    ];
    let restored = Family::<OfRegistry, Gauge>::default();
    for report in reports {
        if let Some(age) = report.restored_seconds {
            let label = OfRegistry { registry: report.name.clone() };
            restored.get_or_create(&label).set(i64::try_from(age).unwrap_or(i64::MAX));
        }
    }
    let help =
        "How old what is served of the registry is while that comes from disk; absent: it has been read";
    now.register("registry_restored_age_seconds", help, restored);
    for (name, help, value) in COLUMNS {
        let family = Family::<OfRegistry, Gauge>::default();
        for report in reports {
            let label = OfRegistry { registry: report.name.clone() };
            family.get_or_create(&label).set(count(value(report)));
        }
        now.register(name, help, family);
    }
}

fn pushed(sinks: &BTreeMap<String, SinkStatus>, now: &mut Registry) {
    /// What is read off a sink's status, as a metric's name and help.
    type Column = (&'static str, &'static str, fn(&SinkStatus) -> usize);
    const COLUMNS: [Column; 5] = [
        ("sink_up", "Whether the sink's other side is reached and known", |s| s.up.into()),
        ("sink_writer", "Whether this process is the one that writes there", |s| s.writer.into()),
        ("sink_objects", "Objects that are wanted there", |s| s.wanted),
        ("sink_pending", "Objects there that differ from what is wanted", |s| s.pending),
        ("sink_failing", "Objects that cannot be there as wanted", |s| s.failing),
    ];
    for (name, help, value) in COLUMNS {
        let family = Family::<OfSink, Gauge>::default();
        for (sink, status) in sinks {
            family.get_or_create(&OfSink { sink: sink.clone() }).set(count(value(status)));
        }
        now.register(name, help, family);
    }
    let last = Family::<OfSink, Seconds>::default();
    for (sink, status) in sinks {
        if let Some(since) = status.last_success.and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            last.get_or_create(&OfSink { sink: sink.clone() }).set(since.as_secs_f64());
        }
    }
    let help = "When the sink was last as wanted, or written to, in seconds since 1970";
    now.register("sink_last_success_timestamp_seconds", help, last);
}

fn connected(clients: &[ClientStatus], now: &mut Registry) {
    let family = Family::<OfWire, Gauge>::default();
    for client in clients {
        family.get_or_create(&OfWire { wire: client.wire }).inc();
    }
    now.register("clients", "Open streams", family);
}

fn served(snapshot: &Snapshot, now: &mut Registry) {
    let resources = Family::<OfCollection, Gauge>::default();
    let bytes = Family::<OfCollection, Gauge>::default();
    for collection in Collection::all() {
        if let Some(content) = snapshot.get(collection) {
            let label = OfCollection { collection: collection.plural() };
            resources.get_or_create(&label).set(count(content.len()));
            bytes.get_or_create(&label).set(count(content.bytes()));
        }
    }
    now.register("resources", "Resources served; absent while the collection is not complete", resources);
    now.register("resources_bytes", "About what they take on a wire, in bytes", bytes);
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
