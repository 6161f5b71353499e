//! What holds for any tree that anybody may write.

use proptest::collection::vec;
use proptest::prelude::*;

use super::curator::{Curator, CuratorSettings};
use super::dubbo::{By, Dubbo, DubboSettings};
use super::template::{Pattern, Template, TemplateSettings};
use super::*;
use crate::model::service::Protocol;

fn layouts() -> Vec<Box<dyn Layout>> {
    let scope = Scope::new("test");
    let dubbo = DubboSettings { root: "/r".into(), config_root: "/r/config".into(), by: By::Both };
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
    prop_oneof![2 => json, 2 => rule, 1 => any::<String>(), 1 => Just(String::new())]
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
            for index in gone.iter().filter(|_| !nodes.is_empty()) {
                for path in tree.remove(&nodes[index.index(nodes.len())].0) {
                    step.note(&path);
                }
                settle(&mut *step, &tree);
            }
            let mut stepwise: Vec<Service> = said.into_values().flatten().collect();
            stepwise.sort_by(|a, b| a.key.cmp(&b.key));
            whole.restart(&tree);
            prop_assert_eq!(stepwise, services(&mut *whole, &tree));
        }
    }
}
