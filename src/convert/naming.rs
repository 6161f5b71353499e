//! Which hosts a service claims, in which namespace its resources live, and what they are called.
//!
//! Hosts that a registry gives itself are taken as they are: they were checked when they were read. Hosts that a
//! template makes are made legal (lower case, illegal characters to hyphens, over-long parts shortened with a hash
//! of what was there), so that no name of a registry can keep its service out of the mesh.
//! Two names that become one host are not told apart here: the catalog sees the collision and says who lost.

mod legal;
mod template;

use std::sync::Arc;

use crate::convert::mapping::Mapping;
use crate::model::host::{Host, HostError, is_dns1123_label};
use crate::model::service::Service;
use crate::resource::encoded::ResourceName;

pub(crate) use self::legal::{host as legal_host, label as legal_label};
pub use self::template::{Template, TemplateError};

/// RFC 1035's limit, which Istio checks.
const MAX_HOST: usize = 255;
/// Kubernetes' limit for the name of an object; two less than a host may have.
const MAX_NAME: usize = 253;

/// Why a service has no name in the mesh.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamingError {
    /// Neither the registry nor the mapping names it.
    #[error(
        "service {service:?} has no host: write `hosts` in it, or `map.hosts` (such as \"{{service}}.example\") in its registry's configuration"
    )]
    NoHosts {
        /// The registry's name of the service.
        service: Arc<str>,
    },
    /// A template asks for something that the service does not have.
    #[error(
        "service {service:?} has no {variable:?}, which the template {template:?} needs: write {{{variable}?}} where it may be absent"
    )]
    NoValue {
        /// The registry's name of the service.
        service: Arc<str>,
        /// The placeholder without a value.
        variable: Arc<str>,
        /// The whole template.
        template: Arc<str>,
    },
    /// What came out of the template is no host even after it was made legal.
    #[error(
        "service {service:?} cannot be called {host:?} ({reason}): change the template {template:?} in `map.hosts`"
    )]
    Host {
        /// The registry's name of the service.
        service: Arc<str>,
        /// What came out.
        host: String,
        /// The whole template.
        template: Arc<str>,
        /// Istio's rule that it breaks.
        reason: HostError,
    },
    /// The service itself names a namespace that none can have.
    #[error(
        "service {service:?} asks for the namespace {namespace:?}, which is no DNS-1123 label (lower-case letters, digits and inner hyphens, at most 63)"
    )]
    Namespace {
        /// The registry's name of the service.
        service: Arc<str>,
        /// What it asks for.
        namespace: Arc<str>,
    },
    /// Nothing is left of a template for the namespace.
    #[error(
        "service {service:?} has an empty namespace: the template {template:?} in `map.namespace` gives nothing for it"
    )]
    NoNamespace {
        /// The registry's name of the service.
        service: Arc<str>,
        /// The whole template.
        template: Arc<str>,
    },
}

/// The hosts that `service` claims, sorted, each once: what its `owner` says, else the registry's, else what the mapping's
/// templates make; and the mapping's aliases.
///
/// # Errors
/// There are none, and the templates make none: the text says what to write. One bad template refuses the
/// service as a whole, so that it does not appear under half of its names.
pub fn hosts(service: &Service, owner: &[Host], mapping: &Mapping) -> Result<Vec<Host>, NamingError> {
    let made = |templates: &[Template]| -> Result<Vec<Host>, NamingError> {
        templates.iter().map(|t| templated(service, t)).collect()
    };
    let mut hosts = match (owner, service.hosts.as_slice()) {
        ([], []) => made(&mapping.hosts)?,
        ([], own) | (own, _) => own.to_vec(),
    };
    hosts.extend(made(&mapping.aliases)?);
    if hosts.is_empty() {
        return Err(NamingError::NoHosts { service: Arc::clone(&service.name) });
    }
    hosts.sort_unstable();
    hosts.dedup();
    Ok(hosts)
}

fn templated(service: &Service, template: &Template) -> Result<Host, NamingError> {
    let expanded = template.expand(service)?;
    // A wildcard may be asked for by the template, never by a service's name.
    let wildcard = template.as_str().starts_with("*.");
    let host = match expanded.strip_prefix("*.").filter(|_| wildcard) {
        Some(rest) => format!("*.{}", legal::host(rest, MAX_HOST - 2)),
        None => legal::host(&expanded, MAX_HOST),
    };
    Host::parse(&host).map_err(|reason| NamingError::Host {
        service: Arc::clone(&service.name),
        template: template.as_str().into(),
        host,
        reason,
    })
}

/// The namespace of the resources of `service`: what it asks for itself, else what the mapping's template makes.
///
/// # Errors
/// What it asks for is no DNS-1123 label, or the template gives nothing for it.
pub fn namespace(service: &Service, mapping: &Mapping) -> Result<Arc<str>, NamingError> {
    if let Some(own) = &service.says.namespace {
        return if is_dns1123_label(own) {
            Ok(Arc::clone(own))
        } else {
            Err(NamingError::Namespace { service: Arc::clone(&service.name), namespace: Arc::clone(own) })
        };
    }
    let made = legal::label(&mapping.namespace.expand(service)?);
    if made.is_empty() {
        let template = mapping.namespace.as_str().into();
        return Err(NamingError::NoNamespace { service: Arc::clone(&service.name), template });
    }
    Ok(made.into())
}

/// What the resource for `host` is called: the host itself, dots kept.
///
/// A wildcard's `*` becomes `wildcard` and the name ends in `.0`: no host can end so (a numeric top-level domain is
/// refused), hence no host can take the name of another one's resource. Names longer than Kubernetes allows are
/// shortened on the left, with a hash of the whole.
#[must_use]
pub fn resource_name(namespace: &str, host: &Host) -> ResourceName {
    let name = match host.as_str().strip_prefix('*') {
        Some(rest) => legal::fit(&format!("wildcard{rest}.0"), MAX_NAME),
        None => legal::fit(host.as_str(), MAX_NAME),
    };
    ResourceName::new(namespace, &name)
}

#[cfg(test)]
mod tests;
