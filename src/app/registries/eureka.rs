//! What the configuration says of an Eureka cluster, as its adapter wants to hear it.

use std::sync::Arc;

use super::http;
use super::unusable::Unusable;
use crate::config::RegistryConfig;
use crate::config::registries::eureka::{EurekaConfig, EurekaFormat, EurekaLeases, EurekaName, EurekaPrefer};
use crate::registry::Factory;
use crate::registry::eureka::{
    EurekaFactory, EurekaSettings, ExpiredLeases, Format, Names, Prefer, Rules, Shape,
};
use crate::registry::http::settings::AddressError;
use crate::runtime::status::Status;

pub(super) fn factory(
    config: &RegistryConfig,
    eureka: &EurekaConfig,
    status: &Arc<Status>,
) -> Arc<dyn Factory> {
    match settings(eureka) {
        Ok(settings) => Arc::new(EurekaFactory::new(settings, config.name.clone(), Arc::clone(status))),
        Err(why) => Arc::new(Unusable::new(why.to_string())),
    }
}

fn settings(config: &EurekaConfig) -> Result<EurekaSettings, AddressError> {
    Ok(EurekaSettings {
        http: http::settings(&config.servers, &config.connection, None)?,
        regions: config.regions.clone(),
        format: match config.format {
            EurekaFormat::Json => Format::Json,
            EurekaFormat::Xml => Format::Xml,
        },
        interval: config.interval,
        rules: rules(config),
    })
}

fn rules(config: &EurekaConfig) -> Rules {
    let has = |name| config.names.contains(&name);
    let shape = Shape {
        prefer: match config.prefer {
            EurekaPrefer::Ip => Prefer::Ip,
            EurekaPrefer::Hostname => Prefer::Hostname,
        },
        region: config.region.as_deref().map(Into::into),
        expired: match config.expired_leases {
            EurekaLeases::Keep => ExpiredLeases::Keep,
            EurekaLeases::Drop => ExpiredLeases::Drop,
        },
    };
    let names = Names {
        app: has(EurekaName::App),
        vip: has(EurekaName::Vip),
        secure_vip: has(EurekaName::SecureVip),
    };
    Rules { names, shape, settle: config.settle, full_every: config.full_read_interval }
}
