//! What holds for any tree that anybody may write.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::curator::{Curator, CuratorSettings};
use super::dubbo::metadata::Metadata;
use super::dubbo::{By, Dubbo, DubboSettings};
use super::question::Key;
use super::template::{Pattern, Template, TemplateSettings};
use super::*;
use crate::model::service::Protocol;

fn layouts() -> Vec<Box<dyn Layout>> {
    let scope = Scope::new("test");
    let dubbo = DubboSettings {
        root: "/r".into(),
        services_root: "/r".into(),
        config_root: "/r/config".into(),
        ..DubboSettings::usual(By::Both)
    };
    let curator = CuratorSettings { root: "/r".into(), protocol: Protocol::Auto };
    let pointer = |p: &str| Some(p.to_owned());
    let template = TemplateSettings {
        path: Pattern::parse("/r/{service}/{instance}").unwrap(),
        address: pointer("/address"),
        port: pointer("/port"),
        weight: pointer("/weight"),
        enabled: pointer("/enabled"),
        metadata: pointer("/payload/metadata"),
        protocol: Protocol::Auto,
    };
    vec![
        Box::new(Dubbo::new(dubbo, scope.clone())),
        Box::new(Curator::new(curator, scope.clone())),
        Box::new(Template::new(template, scope)),
    ]
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![4 => "10\\.0\\.0\\.[1-3]", 1 => "\\[2001:db8::[12]\\]", 1 => "[ab]\\.example", 1 => any::<String>()]
}

fn port() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[1-3]", 1 => "0|99999|-1|x|", 1 => any::<u16>().prop_map(|p| p.to_string())]
}

fn query() -> impl Strategy<Value = String> {
    let value = prop_oneof!["[ab12]", "true|false|\\*|%41|%", any::<String>()];
    let key = prop_oneof![
        "application|interface|group|version|weight|disabled|enabled|methods|side|priority|providerAddresses|dubbo.tag",
        "~?[a-z]{1,3}",
    ];
    vec((key, value), 0..5)
        .prop_map(|kv| kv.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&"))
}

fn url() -> impl Strategy<Value = String> {
    let scheme = prop_oneof!["dubbo|tri|rest|injvm|override|absent|empty|route", "[a-z]{0,4}"];
    (scheme, host(), port(), "a\\.[AB]", query())
        .prop_map(|(s, h, p, path, q)| format!("{s}://{h}:{p}/{path}?{q}"))
}

/// The name of a node has no slash and is not empty.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => url().prop_map(|u| u.replace('%', "%25").replace('/', "%2F")),
        1 => any::<String>().prop_map(|s| format!("%{}", s.replace('/', "%2F"))),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ("a\\.[AB]", "providers|configurators|routers", name()).prop_map(|(i, f, n)| format!("/r/{i}/{f}/{n}")),
        1 => "(a.A:1:g|a\\.A|b|app)\\.(configurators|tag-router)".prop_map(|n| format!("/r/config/dubbo/{n}")),
        2 => "/r/[ab]/[12]",
        3 => "/r/[ab]/10\\.0\\.0\\.[12]:[12]",
        1 => "/r/mapping/a\\.[AB]",
        1 => "/r/[ab]/[12]/[12]",
    ]
}

fn data() -> impl Strategy<Value = String> {
    let json = (host(), port(), "[a-z\"{}:,\\[\\]]{0,9}").prop_map(|(h, p, rest)| {
        format!(r#"{{"address":{h:?},"port":{p:?},"payload":{{"metadata":{{"instance_status":"UP","x":"{}"}}}}}}"#, rest.replace('"', ""))
    });
    let rule = (host(), "[a-z]{0,3}", port()).prop_map(|(h, key, value)| {
        format!("configs:\n- addresses: [{h:?}]\n  parameters: {{weight: {value:?}, {key}: 1}}\n")
    });
    let endpoints = vec(("dubbo|tri|", port()), 0..3);
    let instance = (host(), endpoints, "[0-2]?").prop_map(|(host, endpoints, revision)| {
        let endpoints: Vec<_> =
            endpoints.iter().map(|(protocol, port)| json!({"protocol": protocol, "port": port})).collect();
        let metadata =
            json!({"dubbo.endpoints": json!(endpoints).to_string(), "dubbo.metadata.revision": revision});
        json!({"address": host, "port": 7, "payload": {"@class": "org.apache.dubbo.X", "metadata": metadata}})
            .to_string()
    });
    prop_oneof![2 => json, 3 => instance, 1 => "[ab],[ab]", 2 => rule, 1 => any::<String>(), 1 => Just(String::new())]
}

/// What came of questions about the applications that [`path`] names.
fn findings() -> impl Strategy<Value = Vec<Finding>> {
    let metadata = vec(("a\\.[AB]", "dubbo|tri", 0..4_u16, "[12]?"), 0..3).prop_map(|services| {
        let service = |(at, (name, protocol, port, version)): (usize, &(String, String, u16, String))| {
            let value = json!({"name": name, "protocol": protocol, "port": port, "version": version});
            (at.to_string(), value)
        };
        let services: serde_json::Map<_, _> = services.iter().enumerate().map(service).collect();
        Metadata::from_json(json!({ "services": services }).to_string().as_bytes()).map(Arc::new)
    });
    let outcome =
        prop_oneof![3 => metadata.prop_map(|m| m.map_err(Arc::from)), 1 => Just(Err("nobody".into()))];
    let one = ("[ab]", "[12]", outcome).prop_map(|(application, revision, outcome)| Finding {
        key: Key { application: application.into(), revision: revision.into() },
        outcome,
    });
    vec(one, 0..4)
}

fn services(layout: &mut dyn Layout, tree: &Tree) -> Vec<Service> {
    let mut all: Vec<Service> = layout.settle(tree).into_iter().flat_map(|u| u.services).collect();
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_written_nothing_panics_and_the_order_of_changes_does_not_show(
        nodes in vec((path(), data()), 0..12),
        gone in vec(any::<prop::sample::Index>(), 0..4),
        findings in findings(),
    ) {
        for (mut step, mut whole) in layouts().into_iter().zip(layouts()) {
            let mut tree = Tree::default();
            let mut said: std::collections::BTreeMap<Arc<str>, Vec<Service>> = Default::default();
            let mut settle = |layout: &mut dyn Layout, tree: &Tree| {
                for unit in layout.settle(tree) {
                    said.insert(unit.name, unit.services);
                }
            };
            for (path, data) in &nodes {
                tree.put_data(path, data.as_bytes());
                // A node never comes before those above it.
                let above = path.match_indices('/').skip(1).filter_map(|(at, _)| path.get(..at));
                above.chain([path.as_str()]).for_each(|path| step.note(path));
                settle(&mut *step, &tree);
            }
            for finding in &findings {
                step.learn(finding);
                settle(&mut *step, &tree);
            }
            for index in gone.iter().filter(|_| !nodes.is_empty()) {
                for path in tree.remove(&nodes[index.index(nodes.len())].0) {
                    step.note(&path);
                }
                settle(&mut *step, &tree);
            }
            let mut stepwise: Vec<Service> = said.into_values().flatten().collect();
            stepwise.sort_by(|a, b| a.key.cmp(&b.key));
            if findings.is_empty() {
                whole.restart(&tree);
                prop_assert_eq!(stepwise, services(&mut *whole, &tree));
            } else {
                // What was learnt depends on when; another read of everything changes nothing of it.
                step.restart(&tree);
                prop_assert_eq!(stepwise, services(&mut *step, &tree));
            }
        }
    }
}
