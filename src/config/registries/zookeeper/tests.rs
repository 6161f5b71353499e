use std::path::Path;

use super::*;
use crate::yaml::fields::Findings;
use crate::yaml::parse;

fn read(text: &str) -> Result<ZooKeeperConfig, Vec<String>> {
    let (parsed, findings) = (parse(text, 1 << 20), Findings::default());
    let config = decode(Fields::of(&parsed.documents[0], &findings), Path::new("/etc/chandler"));
    let faults: Vec<String> = findings.into_faults().iter().map(ToString::to_string).collect();
    match config {
        Some(RegistryKind::ZooKeeper(config)) if faults.is_empty() => Ok(config),
        _ => Err(faults),
    }
}

#[test]
fn servers_alone_are_enough() {
    let got = read("{servers: [zk1, 'zk2:2182', '10.0.0.1', '[2001:db8::1]:1', '[::1]']}").unwrap();
    assert_eq!(got.servers, ["zk1:2181", "zk2:2182", "10.0.0.1:2181", "[2001:db8::1]:1", "[::1]:2181"]);
    assert_eq!((got.chroot, got.login, got.tls), (None, ZooKeeperLogin::Nobody, None));
    let places: Vec<Value> = got.layouts.iter().map(LayoutConfig::shown).collect();
    assert_eq!(
        places,
        [
            json!({"dubbo": {"root": "/dubbo", "servicesRoot": "/services", "configRoot": "/dubbo/config",
                "by": "application", "askProviders": true}}),
            json!({"curator": {"root": "/services", "protocol": "auto"}}),
        ]
    );
}

#[test]
fn what_is_shown_can_be_written_and_has_no_secret() {
    let text = "{servers: [zk1], chroot: /prod, sessionTimeout: 30s, auth: sasl, username: u, password: s3cret, \
        tls: {caFile: ca.pem, certFile: c, keyFile: k}, layouts: [{dubbo: {by: both}}, {curator: {protocol: GRPC}}, \
        {template: {path: '/a/{service}/{instance}', address: /h, port: /p, protocol: HTTP}}]}";
    let got = read(text).unwrap();
    let shown = got.shown();
    assert!(!shown.to_string().contains("s3cret"));
    assert_eq!(read(&shown.to_string().replace("***", "s3cret")).unwrap(), got);
    assert_eq!(got.chroot.as_deref(), Some("/prod"));
}

#[test]
fn where_the_root_is_another_applications_are_below_it_too() {
    for (written, want) in
        [("root: /myroot", "/myroot"), ("root: /myroot, servicesRoot: /apps", "/apps"), ("", "/services")]
    {
        let got = read(&format!("{{servers: [a], layouts: [{{dubbo: {{{written}}}}}]}}")).unwrap();
        assert_eq!(got.layouts[0].shown()["dubbo"]["servicesRoot"], want);
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_write() {
    for (rest, words) in [
        ("servers: []", "no server"),
        ("servers: ['zk1:0']", "no port"),
        ("servers: ['zk1:99999']", "no port"),
        ("servers: ['a b']", "no name and no address"),
        ("servers: ['*.x']", "no name and no address"),
        ("servers: ['zk1,zk2']", "one server for each element"),
        ("servers: ['zk1/x']", "in `chroot`"),
        ("servers: ['[x]:1']", "no IPv6 address"),
        ("chroot: /x", "`servers` is missing"),
        ("servers: [a], chroot: x", "no path"),
        ("servers: [a], chroot: /x/", "no path"),
        ("servers: [a], chroot: /x/../y", "no path"),
        ("servers: [a], sessionTimeout: 10ms", "from 1s to 10m"),
        ("servers: [a], username: u", "go together"),
        ("servers: [a], auth: sasl", "go together"),
        ("servers: [a], auth: kerberos, username: u, password: p", "`digest` or `sasl`"),
        ("servers: [a], username: 'u:v', password: p", "no colon"),
        ("servers: [a], tls: {}", "`caFile` is missing"),
        ("servers: [a], tls: {caFile: x, insecureSkipVerify: true}", "write its certificate into `caFile`"),
        ("servers: [a], tls: {caFile: x, keyFile: y}", "go together"),
        ("servers: [a], layouts: []", "no layout"),
        ("servers: [a], layouts: [{}]", "which layout is this"),
        ("servers: [a], layouts: [{dubo: {}}]", "did you mean `dubbo`?"),
        ("servers: [a], layouts: [{dubbo: {}, curator: {}}]", "one kind"),
        ("servers: [a], layouts: [{dubbo: {}}, {dubbo: {by: both}}]", "in this list already"),
        ("servers: [a], layouts: [{dubbo: {by: service}}]", "`application`, `interface` or `both`"),
        ("servers: [a], layouts: [{dubbo: {askProviders: 7}}]", "true or false"),
        ("servers: [a], layouts: [{template: {}}]", "`path` is missing"),
        ("servers: [a], layouts: [{template: {path: a}}]", "begins with `/`"),
        ("servers: [a], layouts: [{template: {path: '/{service}/{instance}'}}]", "all of ZooKeeper"),
        ("servers: [a], layouts: [{template: {path: '/a/{service}'}}]", "{instance} last"),
        ("servers: [a], layouts: [{template: {path: '/a/{app}/{instance}'}}]", "placeholders are"),
        ("servers: [a], layouts: [{template: {path: '/a/x{service}/{instance}'}}]", "whole part"),
        ("servers: [a], layouts: [{template: {path: '/a//{service}/{instance}'}}]", "is empty"),
        ("servers: [a], layouts: [{template: {path: '/a/{service}/{service}/{instance}'}}]", "twice"),
        (
            "servers: [a], layouts: [{template: {path: '/a/{service}/{instance}', port: /p}}]",
            "without `address`",
        ),
        (
            "servers: [a], layouts: [{template: {path: '/a/{service}/{instance}', address: h}}]",
            "no JSON pointer",
        ),
    ] {
        let faults = read(&format!("{{{rest}}}")).unwrap_err();
        assert!(faults.len() == 1 && faults[0].contains(words), "{rest}: {faults:?}");
    }
}
