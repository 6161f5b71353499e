//! `/api/v1`: JSON for people, scripts and `chandler status`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::http::ApiError;
use crate::admin::rows::{ClientRow, RegistryRow, SinkRow};
use crate::admin::{AdminState, asked};
use crate::convert::manifest;
use crate::model::service::RegistryName;
use crate::pipeline::guard::freeze::Area;
use crate::pipeline::report::{AreaReport, ContestReport, HeldReport, ServiceReport, Wanted};
use crate::resource::collection::Collection;
use crate::resource::encoded::Encoded;
use crate::resource::snapshot::Snapshot;

type Answer<T> = Result<Json<T>, ApiError>;
type Asked<T> = Result<Query<T>, QueryRejection>;
type Posted<T> = Result<Json<T>, JsonRejection>;

fn bad_request(words: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, words)
}

/// Every registry in the order of the configuration.
pub(super) async fn registries(State(state): State<AdminState>) -> Answer<Vec<RegistryRow>> {
    let reports = asked(state.questions.registries()).await.ok_or_else(ApiError::pipeline)?;
    let mut adapters = state.status.registries();
    let mut row = |report: crate::pipeline::report::RegistryReport| {
        let status = adapters.remove(&RegistryName::new(&report.name)).unwrap_or_default();
        RegistryRow::new(report, status)
    };
    Ok(Json(reports.into_iter().map(&mut row).collect()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfRegistry {
    registry: Option<String>,
    name: Option<String>,
}

/// Every item and what became of it.
pub(super) async fn services(
    State(state): State<AdminState>,
    query: Asked<OfRegistry>,
) -> Answer<Vec<ServiceReport>> {
    let Query(query) = query.map_err(|e| bad_request(e.body_text()))?;
    if let Some(name) = &query.registry {
        let known = asked(state.questions.registries()).await.ok_or_else(ApiError::pipeline)?;
        if !known.iter().any(|r| r.name == *name) {
            return Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is no registry {name:?}")));
        }
    }
    let wanted = Wanted { registry: query.registry, name: query.name };
    asked(state.questions.services(wanted)).await.map(Json).ok_or_else(ApiError::pipeline)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfHost {
    host: Option<String>,
}

/// The hosts that several claim and what becomes of each claim, or all of that for one host.
pub(super) async fn hosts(
    State(state): State<AdminState>,
    query: Asked<OfHost>,
) -> Answer<Vec<ContestReport>> {
    let Query(OfHost { host }) = query.map_err(|e| bad_request(e.body_text()))?;
    let reports = asked(state.questions.hosts(host.clone())).await.ok_or_else(ApiError::pipeline)?;
    match host.filter(|_| reports.is_empty()) {
        Some(host) => Err(ApiError::new(StatusCode::NOT_FOUND, format!("nobody claims the host {host:?}"))),
        None => Ok(Json(reports)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfCollection {
    collection: Option<String>,
    name: Option<String>,
}

/// One resource that is served; `object` only where one was asked for by name.
#[derive(Debug, Serialize)]
pub(super) struct ResourceRow {
    collection: &'static str,
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Value>,
}

impl ResourceRow {
    fn new(resource: &Encoded, object: Option<Value>) -> Self {
        Self {
            collection: resource.id.collection.plural(),
            name: resource.id.name.to_string(),
            version: resource.version.to_string(),
            object,
        }
    }
}

/// What is served: a list, or one resource whole.
pub(super) async fn resources(State(state): State<AdminState>, query: Asked<OfCollection>) -> Answer<Value> {
    let Query(query) = query.map_err(|e| bad_request(e.body_text()))?;
    let collection = query.collection.as_deref().map(|name| {
        Collection::of_name(name).ok_or_else(|| bad_request(format!("there is no collection {name:?}")))
    });
    let snapshot = state.store.current();
    let answer = match (collection.transpose()?, query.name) {
        (collection, None) => serde_json::to_value(list(&snapshot, collection)),
        (Some(collection), Some(name)) => serde_json::to_value(one(&snapshot, collection, &name)?),
        (None, Some(_)) => {
            return Err(bad_request("a name needs its collection: ?collection=se&name=NS/NAME"));
        }
    };
    answer.map(Json).map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

fn list(snapshot: &Snapshot, only: Option<Collection>) -> Vec<ResourceRow> {
    let wanted = Collection::all().filter(|c| only.is_none_or(|only| only == *c));
    let content = wanted.filter_map(|c| snapshot.get(c));
    content.flat_map(|c| c.iter()).map(|r| ResourceRow::new(r, None)).collect()
}

fn one(snapshot: &Snapshot, collection: Collection, name: &str) -> Result<ResourceRow, ApiError> {
    let missing = |words: String| ApiError::new(StatusCode::NOT_FOUND, words);
    let content = snapshot.get(collection);
    let content = content.ok_or_else(|| missing(format!("{collection} is not complete yet: see /syncz")))?;
    let resource = content.get(name).ok_or_else(|| missing(format!("{collection} {name:?} not found")))?;
    let object = manifest::object(resource)
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    Ok(ResourceRow::new(resource, Some(object)))
}

/// Every open stream in the order in which they came.
pub(super) async fn clients(State(state): State<AdminState>) -> Json<Vec<ClientRow>> {
    let served = state.store.current();
    Json(state.status.clients().into_iter().map(|c| ClientRow::new(c, &served)).collect())
}

/// Every sink by name.
pub(super) async fn sinks(State(state): State<AdminState>) -> Json<Vec<SinkRow>> {
    Json(state.status.sinks().into_iter().map(|(name, status)| SinkRow::new(name, status)).collect())
}

/// What is kept although its registry does not show it any more, and why.
pub(super) async fn held(State(state): State<AdminState>) -> Answer<Vec<HeldReport>> {
    asked(state.questions.held()).await.map(Json).ok_or_else(ApiError::pipeline)
}

/// What is frozen by hand.
pub(super) async fn frozen(State(state): State<AdminState>) -> Answer<Vec<AreaReport>> {
    asked(state.questions.frozen()).await.map(Json).ok_or_else(ApiError::pipeline)
}

/// How much was let go.
#[derive(Debug, Serialize)]
pub(super) struct Released {
    released: usize,
}

/// Lets go what is held: of a service, of a registry, of all.
pub(super) async fn release(State(state): State<AdminState>, body: Posted<AreaReport>) -> Answer<Released> {
    let Json(wanted) = body.map_err(|e| bad_request(e.body_text()))?;
    let area = area(&state, &wanted).await?;
    let released = asked(state.questions.release(area)).await.ok_or_else(ApiError::pipeline)?;
    tracing::warn!(?wanted, released, "what was held was let go by hand");
    Ok(Json(Released { released }))
}

/// What is to be frozen, or thawed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Freeze {
    registry: Option<String>,
    service: Option<String>,
    frozen: bool,
}

/// Freezes or thaws a service, a registry, all; answers what is frozen then.
pub(super) async fn freeze(State(state): State<AdminState>, body: Posted<Freeze>) -> Answer<Vec<AreaReport>> {
    let Json(Freeze { registry, service, frozen }) = body.map_err(|e| bad_request(e.body_text()))?;
    let wanted = AreaReport { registry, service };
    let area = area(&state, &wanted).await?;
    let now = asked(state.questions.freeze(area, frozen)).await.ok_or_else(ApiError::pipeline)?;
    tracing::warn!(?wanted, frozen, "frozen or thawed by hand");
    Ok(Json(now))
}

async fn area(state: &AdminState, wanted: &AreaReport) -> Result<Area, ApiError> {
    let Some(name) = &wanted.registry else {
        let words = "a service is named together with its registry";
        return if wanted.service.is_some() { Err(bad_request(words)) } else { Ok(Area::All) };
    };
    let known = asked(state.questions.registries()).await.ok_or_else(ApiError::pipeline)?;
    if !known.iter().any(|r| r.name == *name) {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is no registry {name:?}")));
    }
    let registry = RegistryName::new(name);
    Ok(match &wanted.service {
        Some(service) => Area::Service(registry, service.as_str().into()),
        None => Area::Registry(registry),
    })
}

/// The configuration in force, secrets removed.
pub(super) async fn config(State(state): State<AdminState>) -> Json<Value> {
    Json((state.config)())
}
