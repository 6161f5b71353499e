//! From the configuration of a ZooKeeper to its adapter.

use std::sync::Arc;

use crate::config::{DubboBy, LayoutConfig, RegistryConfig, ZooKeeperConfig, ZooKeeperLogin};
use crate::registry::Factory;
use crate::registry::zookeeper::{
    By, ConnectSettings, CuratorSettings, DubboSettings, LayoutSettings, Login, Pattern, TemplateSettings,
    Tls, ZooKeeperFactory, ZooKeeperSettings,
};
use crate::runtime::status::Status;

/// The adapter of `config`.
pub(super) fn factory(
    registry: &RegistryConfig,
    config: &ZooKeeperConfig,
    status: &Arc<Status>,
) -> Arc<dyn Factory> {
    let connect = ConnectSettings {
        servers: config.servers.clone(),
        chroot: config.chroot.clone(),
        session_timeout: config.session_timeout,
        login: match config.login.clone() {
            ZooKeeperLogin::Nobody => Login::Nobody,
            ZooKeeperLogin::Digest(user, password) => Login::Digest(user, password),
            ZooKeeperLogin::Sasl(user, password) => Login::Sasl(user, password),
        },
        tls: config.tls.clone().and_then(|tls| Some(Tls { ca: tls.ca?, identity: tls.identity })),
    };
    // A pattern has been checked with the configuration.
    let layouts = config.layouts.iter().filter_map(layout).collect();
    let settings = ZooKeeperSettings { connect, layouts, calm: ZooKeeperSettings::CALM };
    Arc::new(ZooKeeperFactory::new(settings, registry.name.clone(), Arc::clone(status)))
}

fn layout(config: &LayoutConfig) -> Option<LayoutSettings> {
    Some(match config.clone() {
        LayoutConfig::Dubbo { root, services_root, config_root, by, ask } => {
            LayoutSettings::Dubbo(DubboSettings {
                root: root.into(),
                services_root: services_root.into(),
                config_root: config_root.into(),
                ask,
                by: match by {
                    DubboBy::Application => By::Application,
                    DubboBy::Interface => By::Interface,
                    DubboBy::Both => By::Both,
                },
            })
        }
        LayoutConfig::Curator { root, protocol } => {
            LayoutSettings::Curator(CuratorSettings { root: root.into(), protocol })
        }
        LayoutConfig::Template { path, address, port, weight, enabled, metadata, protocol } => {
            let path = Pattern::parse(&path)?;
            LayoutSettings::Template(TemplateSettings {
                path,
                address,
                port,
                weight,
                enabled,
                metadata,
                protocol,
            })
        }
    })
}
