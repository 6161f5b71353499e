//! The configuration as its user meets it: what is accepted, what every mistake is answered with, what a reload changes.

// Every configuration here names this registry.
#![cfg(feature = "files")]
// Helpers of tests are tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chandler::config::reload::{Fate, Setting};
use chandler::config::{
    Access, Config, ConfigErrors, Entrance, FilesConfig, QUICKSTART, RegistryKind, Source,
};
use chandler::convert::mapping::ServicePorts;
use chandler::convert::self_service::Say;
use chandler::limit::{Limits, Rate};
use chandler::model::endpoint::TlsMode;
use chandler::model::merging::Mode;
use chandler::model::service::{Addresses, Location, Protocol, RegistryName};
use chandler::security::tls::server::Demand;
use chandler::yaml::excerpt::Style;
use proptest::prelude::*;

const MINIMAL: &str = "registries: [{name: a, files: {path: services}}]\n";
const LOCAL: Entrance = Entrance { tls: None, access: Access::Local };
const RICH: &str = include_str!("config/rich.yaml");

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, "c.yaml", Path::new("/etc/chandler"))
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|e| panic!("{e}"))
}

/// All faults as `line:column: words`.
fn faults(text: &str) -> Vec<String> {
    parse(text).expect_err(text).faults().iter().map(ToString::to_string).collect()
}

/// `text` (beside a registry that is right) has one fault, at the place of its `§`, whose words contain each of `words`.
#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let (before, after) = text.split_once('§').unwrap();
    let at = format!(
        "{}:{}: ",
        before.matches('\n').count() + 1,
        before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1
    );
    let all =
        faults(&format!("{before}{after}\n{}", if text.contains("registries:") { "" } else { MINIMAL }));
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].starts_with(&at), "{all:?} should be at {at}");
    for word in words {
        assert!(all[0].contains(word), "{all:?} should say {word:?}");
    }
}

fn manifest(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

// What is accepted.

#[test]
fn what_is_not_written_has_its_default() {
    let c = good(MINIMAL);
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(c.server.listeners.len(), 1);
    assert_eq!(c.server.listeners[0].address, loopback(9901));
    assert_eq!(c.server.listeners[0].entrance, LOCAL);
    assert_eq!(c.server.limits, Limits::default());
    assert_eq!(c.telemetry.listen, loopback(9902));
    assert_eq!((c.admin.listen, c.admin.entrance), (loopback(9903), LOCAL));
    assert_eq!(c.mesh.virtual_addresses, ["244.0.0.0/6".parse().unwrap()]);
    assert!(c.mesh.pins.is_empty());
    assert_eq!(c.mesh.oldest_xds.to_string(), "1.9");
    assert_eq!(c.mesh.oldest_pilot.to_string(), "1.1");
    assert_eq!(c.guard.empty_service_ttl, Duration::from_secs(600));
    assert_eq!(c.push.endpoint.quiet, Duration::from_millis(100));
    assert_eq!(c.push.endpoint.max, Duration::from_secs(1));
    assert_eq!(c.push.topology.quiet, Duration::from_secs(1));
    assert_eq!(c.push.topology.max, Duration::from_secs(5));
    assert_eq!(c.push.full_state_interval, Duration::from_millis(500));
    let map = &c.registries[0].policy.map;
    assert!(map.hosts.is_empty() && map.export_to.is_empty() && map.endpoints.is_empty());
    assert_eq!(map.namespace.as_str(), "chandler");
    assert_eq!(
        (map.protocol, map.location, map.addresses),
        (Protocol::Auto, Location::Auto, Addresses::Virtual)
    );
    assert_eq!((&map.service_ports, map.tls_mode), (&ServicePorts::Auto, TlsMode::None));
    assert!(map.labels.include.is_match("a/b") && !map.labels.exclude.is_match("a"));
}

#[test]
fn every_key_is_taken_as_written() {
    let c = good(RICH);
    assert_eq!(c.server.listeners[1].entrance.access, Access::Open);
    let Access::Rules(rules) = &c.server.listeners[2].entrance.access else { panic!("rules") };
    assert_eq!(rules.len(), 6);
    let tls = c.server.listeners[2].entrance.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, Path::new("/etc/chandler/tls/tls.crt"));
    let clients = tls.clients.as_ref().unwrap();
    assert_eq!((clients.ca.as_path(), clients.demand), (Path::new("/ca.crt"), Demand::Required));
    assert!(c.admin.entrance.tls.as_ref().unwrap().clients.is_none());
    let limits = c.server.limits;
    assert_eq!((limits.message_size, limits.streams, limits.streams_per_identity), (32 << 20, 500, Some(4)));
    assert_eq!((limits.stream_opens, limits.requests), (Rate::new(5, 6), Rate::new(7, 8)));
    assert_eq!(
        (limits.requests_per_peer, limits.read_timeout, limits.acknowledge_warning),
        (None, None, None)
    );
    assert_eq!(limits.first_request_timeout, Some(Duration::from_secs(90)));
    assert_eq!(limits.unknown_collections, 0);
    let map = &c.registries[0].policy.map;
    assert_eq!(map.hosts[0].as_str(), "{service}.example.internal");
    assert_eq!(map.protocol, Protocol::Http);
    assert_eq!(map.service_ports, ServicePorts::List(vec![80, 8080]));
    assert_eq!((map.addresses, map.location), (Addresses::Endpoints, Location::MeshInternal));
    assert_eq!(map.export_to.iter().map(|s| &**s).collect::<Vec<_>>(), [".", "shop"]);
    assert!(map.labels.include.is_match("team-a") && !map.labels.include.is_match("other"));
    assert!(map.labels.exclude.is_match("team-internal"));
    assert_eq!(map.labels.rename["team-a"], "example.com/team");
    assert_eq!(map.labels.set.get("tier"), Some("1.10"));
    assert_eq!(map.endpoints[0].network.as_deref(), Some("vpc2"));
    assert_eq!(map.endpoints[0].tls_mode, Some(TlsMode::Istio));
    assert!(map.endpoints[1].drop);
    assert_eq!(c.mesh.oldest_xds.to_string(), "1.10");
    assert_eq!(c.mesh.oldest_pilot.to_string(), "1.5");
    assert_eq!(c.mesh.pins.len(), 1);
    assert_eq!(c.push.topology.max, Duration::from_millis(90_500));
}

#[test]
fn what_is_shown_can_be_read_back() {
    for text in [MINIMAL, RICH] {
        let config = good(text);
        let shown = serde_json::to_string_pretty(&config.shown()).unwrap();
        assert_eq!(good(&shown), config, "{shown}");
    }
}

#[test]
fn paths_are_relative_to_the_configuration_file() {
    let path = |text: &str| match good(text).registries.remove(0).kind {
        RegistryKind::Files(FilesConfig { source: Source::Path(path) }) => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(path(MINIMAL), Path::new("/etc/chandler/services"));
    assert_eq!(path(&MINIMAL.replace("services", "/srv/x")), Path::new("/srv/x"));
}

#[test]
fn telemetry_may_lie_off_loopback_and_port_0_may_repeat() {
    good(&format!("telemetry: {{listen: 0.0.0.0:9902}}\n{MINIMAL}"));
    good(&format!(
        "telemetry: {{listen: 127.0.0.1:0}}\nadmin: {{listen: 127.0.0.1:0}}\nserver: {{listeners: [{{address: '[::1]:0'}}]}}\n{MINIMAL}"
    ));
    good(&format!("admin: {{listen: '0.0.0.0:9903', access: open}}\n{MINIMAL}"));
}

#[test]
fn virtual_addresses_can_be_turned_off_and_may_have_both_families() {
    assert!(good(&format!("mesh: {{virtualAddresses: []}}\n{MINIMAL}")).mesh.virtual_addresses.is_empty());
    let both = good(&format!("mesh: {{virtualAddresses: ['10.96.0.0/16', 'fd00::/64']}}\n{MINIMAL}"));
    assert_eq!(both.mesh.virtual_addresses.len(), 2);
}

// The files that are shipped.

#[test]
fn the_shipped_configurations_are_right() {
    for file in ["config/quickstart.yaml", "config/chandler.yaml", "config/reference.yaml"] {
        Config::load(&manifest(file)).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn the_reference_shows_the_defaults() {
    let reference = Config::load(&manifest("config/reference.yaml")).unwrap();
    let text = "registries: [{name: onboard, files: {path: services}}]";
    let minimal = Config::parse(text, "c.yaml", &manifest("config")).unwrap();
    assert_eq!(reference, minimal);
}

#[test]
fn the_quickstart_is_the_shipped_one() {
    assert_eq!(QUICKSTART, std::fs::read_to_string(manifest("config/quickstart.yaml")).unwrap());
    let built_in = Config::quickstart().unwrap();
    let shipped = Config::load(&manifest("config/quickstart.yaml")).unwrap();
    assert_eq!(built_in.mesh, shipped.mesh);
    assert!(built_in.server.listeners.iter().all(|l| l.address.ip().is_loopback()));
    let files = match &built_in.registries[0].kind {
        RegistryKind::Files(files) => files,
        #[allow(unreachable_patterns, reason = "a build of few features knows files alone")]
        _ => panic!("{built_in:?}"),
    };
    let Source::Embedded(services) = files.source else { panic!("{files:?}") };
    for (name, text) in services {
        assert_eq!(*text, std::fs::read_to_string(manifest("config").join(name)).unwrap());
    }
}

#[test]
fn every_sample_service_is_valid_yaml_of_a_form_that_the_files_registry_reads() {
    for (name, text) in chandler::config::QUICKSTART_SERVICES {
        for document in chandler::yaml::parse(text, 1 << 20).complete().unwrap() {
            let map = document.map().unwrap();
            assert!(map.get("services").is_some() || map.get("kind").is_some(), "{name}");
        }
    }
}

// What bad input gets.

#[test]
fn an_unknown_key_is_answered_with_the_nearest_known_one() {
    refused("server:\n  §listner: []\n", &["unknown key `listner`", "did you mean `listeners`?"]);
    refused("§sever: {}\n", &["did you mean `server`?"]);
    refused(
        "registries:\n- name: a\n  files: {path: x}\n  map:\n    §lables: {}\n",
        &["did you mean `labels`?"],
    );
    refused("push: {§zzzzzzz: 1s}\n", &["unknown key `zzzzzzz`", "known here: `endpointQuiet`, "]);
}

#[test]
fn what_comes_later_is_called_so() {
    for (text, key) in
        [("§rules: []\n", "rules"), ("registries:\n- name: a\n  §nacos: {address: x}\n", "nacos")]
    {
        refused(text, &[&format!("`{key}` is not available in this version")]);
    }
}

#[test]
fn a_rule_for_merging_names_hosts_registries_and_a_mode() {
    let two = "registries: [{name: a, files: {path: x}}, {name: b, files: {path: y}}]\n";
    let c = good(&format!(
        "merge:\n- {{hosts: ['*.consul'], registries: [b, a], mode: union}}\n- {{hosts: ['*'], mode: failover}}\n{two}"
    ));
    let rules: Vec<_> = c.merge.0.iter().map(|r| (r.mode, r.registries.len())).collect();
    assert_eq!(rules, [(Mode::Union, 2), (Mode::Failover, 0)]);
    let with = |rule: &str, words: &[&str]| refused(&format!("merge:\n{rule}\n{two}"), words);
    with("- {hosts: ['x'], mode: §both}", &["`precedence`, `union` or `failover`"]);
    with("- §{hosts: ['x']}", &["`mode` is missing"]);
    with("- §{mode: union}", &["`hosts` is missing"]);
    with("- {hosts: §[], mode: union}", &["no host"]);
    with("- {hosts: [§Web.test], mode: union}", &["lower case"]);
    with(
        "- {hosts: ['x'], mode: union, registries: [a, §bb]}",
        &["no registry is called `bb`", "did you mean `b`?"],
    );
    with("- {hosts: ['x'], mode: union, registries: [a, b, §a]}", &["stands here twice"]);
    with("- {hosts: ['x'], mode: union, registries: §[a]}", &["merges several registries"]);
    with("- {hosts: ['x'], mode: union, registries: §[]}", &["name at least two"]);
    with(
        "- {hosts: ['*.x'], mode: union}\n- {hosts: [y, §web.x], mode: failover}",
        &["never reached", "in line 2"],
    );
    with("- {hosts: ['*'], mode: union}\n- {hosts: [§'a*.b'], mode: union}", &["never reached: `*`"]);
    refused("merge:\n- §{hosts: ['x'], mode: failover}\n", &["only one is configured"]);
    // What is not covered for sure is no fault.
    good(&format!(
        "merge:\n- {{hosts: ['a*'], mode: union}}\n- {{hosts: ['*a', '[ab]*'], mode: union}}\n{two}"
    ));
    // All at once.
    let all = faults(&format!("merge:\n- {{hosts: [X], mode: y, registries: [z]}}\n- {{}}\n{two}"));
    assert_eq!(all.len(), 5, "{all:#?}");
}

#[test]
fn malformed_yaml_says_where_and_why() {
    refused("server:\n\t§listeners: []\n", &["a tab", "spaces"]);
    refused("server: §[\n", &["`[` is never closed"]);
    refused("server:\n  limits: {messageSize: §*x}\n", &["no anchor"]);
    refused("a: b§: c\n", &["not valid YAML"]);
}

#[test]
fn a_duplicate_key_is_refused() {
    refused("push: {endpointMax: 2s}\n§push: {endpointMax: 3s}\n", &["`push` stands here twice", "line 1"]);
}

#[test]
fn wrong_types_are_told_in_words() {
    refused("server: §5\n", &["expected a map", "found the number 5"]);
    refused("server: {listeners: §{address: x}}\n", &["expected a list", "found a map"]);
    refused("registries: §onboard\n", &["expected a list", "found the text \"onboard\""]);
    refused("registries: [§a]\n", &["expected a map", "found the text \"a\""]);
    refused("guard: {emptyServiceTTL: §10}\n", &["a duration with its unit", "the number 10"]);
    refused("guard: {emptyServiceTTL: §[10m]}\n", &["a duration", "found a list"]);
    refused("guard: {registryShrinkLimit: §30}\n", &["a share from `0%` to `100%`", "the number 30"]);
    refused("guard: {confirmReads: §-1}\n", &["a whole number from 0 to 100"]);
    refused("guard: {emptyServiceHold: §yes}\n", &["true or false"]);
    refused("server: {limits: {messageSize: §16MB}}\n", &["a size with its unit", "did you mean `16MiB`?"]);
    refused("server: {limits: {messageSize: §1KiB}}\n", &["from 64KiB to 1GiB"]);
    refused("server: {limits: {streams: §off}}\n", &["a whole number from 1 to 1000000", "\"off\""]);
    refused("server: {limits: {streamsPerIdentity: §none}}\n", &["a whole number", "\"none\"", ", or `off`"]);
    refused("server: {limits: {requestsPerSecond: §0}}\n", &["from 1 to 1000000", ", or `off`"]);
    refused("server: {limits: {readTimeout: §30}}\n", &["a duration with its unit", ", or `off`"]);
    refused("server: {limits: {unknownCollections: §101}}\n", &["from 0 to 100"]);
    refused("telemetry: {listen: §9902}\n", &["an IP address and a port", "`127.0.0.1:9901`"]);
    refused("telemetry: {listen: §'localhost:9902'}\n", &["did you mean `127.0.0.1:9902`?"]);
    refused("telemetry: {listen: §':9902'}\n", &["did you mean `0.0.0.0:9902`?"]);
}

#[test]
fn a_burst_of_a_rate_that_is_off_is_refused() {
    let words = ["means nothing while `requestsPerSecond` is off"];
    refused("server: {limits: {requestsPerSecond: off, burst: §5}}\n", &words);
    let limits =
        good(&format!("server: {{limits: {{requestsPerSecond: 5, streamOpensBurst: 7}}}}\n{MINIMAL}"))
            .server
            .limits;
    assert_eq!((limits.requests, limits.stream_opens), (Rate::new(5, 200), Rate::new(200, 7)));
}

#[test]
fn an_empty_file_says_what_to_write() {
    for text in ["", "# nothing\n", "---\n", "{}\n"] {
        let all = faults(text);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains("nothing is configured") || all[0].contains("no registry"), "{all:?}");
    }
    refused("registries: §[]\n", &["no registry", "files: {path: services}"]);
}

#[test]
fn a_second_document_is_refused() {
    refused(&format!("{MINIMAL}---\n§server: {{}}"), &["one document"]);
}

#[test]
fn a_listener_off_loopback_must_say_who_may_come() {
    let words = ["can be reached from other machines", "rules of `access`", "`access: open`", "127.0.0.1"];
    refused("server:\n  listeners:\n  - address: §0.0.0.0:9901\n", &words);
    refused("server: {listeners: [{address: §'[::]:9901'}]}\n", &words);
    refused("admin: {listen: §10.0.0.1:9903}\n", &words);
    refused(
        "server: {listeners: [{address: '0.0.0.0:1', access: §opne}]}\n",
        &["expected `open`", "did you mean `open`?"],
    );
}

#[test]
fn a_rule_that_says_too_little_or_nonsense_is_refused() {
    for (access, words) in [
        ("§[]", &["no rule lets anybody in"][..]),
        ("§yes", &["expected `open`", "a list of rules"]),
        ("[§open]", &["expected a map"]),
        ("[§{collections: ['*']}]", &["`from` is missing", "any: peer"]),
        ("[§{from: {any: peer}}]", &["`collections` is missing"]),
        ("[{from: §{}, collections: ['*']}]", &["no condition", "any: peer"]),
        ("[{from: {§dns: }, collections: ['*']}]", &["nothing stands after `dns`"]),
        ("[{from: {cidr: 10.0.0.0/8, §spiffe: ~}, collections: ['*']}]", &["nothing stands after `spiffe`"]),
        ("[{from: {any: §all}, collections: ['*']}]", &["expected `peer` or `certificate`"]),
        ("[{from: {§spife: x}, collections: ['*']}]", &["did you mean `spiffe`?"]),
        ("[{from: {spiffe: §a/b}, collections: ['*']}]", &["begins with `spiffe://`"]),
        ("[{from: {spiffe: §'spiffe://a/**'}, collections: ['*']}]", &["write each part"]),
        ("[{from: {dns: §a..b}, collections: ['*']}]", &["a part of it is empty"]),
        ("[{from: {cidr: §10.0.0.1/8}, collections: ['*']}]", &["did you mean `10.0.0.0/8`?"]),
        ("[{from: {tokenFile: §''}, collections: ['*']}]", &["must not be empty"]),
        ("[{from: {any: peer}, collections: [§pods]}]", &["serviceentries", "for all"]),
        ("[{from: {any: peer}, collections: §se}]", &["expected a list"]),
        ("[{accessListFile: x, §from: {any: peer}}]", &["a rule of its own"]),
    ] {
        refused(&format!("server: {{listeners: [{{address: '0.0.0.0:1', access: {access}}}]}}\n"), words);
        refused(&format!("admin: {{listen: '0.0.0.0:1', access: {access}}}\n"), words);
    }
}

#[test]
fn tls_needs_a_certificate_and_its_key() {
    for (tls, words) in [
        ("§{certFile: a}", &["`keyFile` is missing"][..]),
        ("§{keyFile: a}", &["`certFile` is missing"]),
        ("{certFile: a, keyFile: b, §clientCertificates: required}", &["without `clientCaFile`"]),
        (
            "{certFile: a, keyFile: b, clientCaFile: c, clientCertificates: §always}",
            &["`optional` or `required`"],
        ),
        ("{certFile: a, keyFile: §'', clientCaFile: c}", &["must not be empty"]),
        ("{certFile: a, keyFile: b, §clientCafile: c}", &["did you mean `clientCaFile`?"]),
        ("§on", &["expected a map"]),
    ] {
        refused(&format!("server: {{listeners: [{{address: '127.0.0.1:1', tls: {tls}}}]}}\n"), words);
        refused(&format!("admin: {{tls: {tls}}}\n"), words);
    }
    // Whoever writes the key does not mean plaintext.
    refused("server: {listeners: [{address: '127.0.0.1:1', §tls: }]}\n", &["nothing is written after `tls`"]);
    refused("admin: {§tls: ~}\n", &["nothing is written after `tls`"]);
}

#[test]
fn what_is_hardly_meant_is_named() {
    let doubts =
        |server: &str| good(&format!("server: {{listeners: [{server}]}}\nstate: off\n{MINIMAL}")).doubts();
    let tls = "tls: {certFile: a, keyFile: b, clientCaFile: c}";
    for (server, words) in [
        (
            "{address: '127.0.0.1:1', access: [{from: {any: certificate}, collections: ['*']}]}",
            "nobody shows one",
        ),
        ("{address: '127.0.0.1:1', access: [{accessListFile: x}]}", "nobody shows one"),
        (
            "{address: '0.0.0.0:1', access: [{from: {tokenFile: x}, collections: ['*']}]}",
            "travel without TLS",
        ),
        (
            "{address: '0.0.0.0:1', access: [{from: {any: peer}, collections: [se]}, {from: {cidr: 10.0.0.0/8}, collections: ['*']}]}",
            "rule 1 is about everybody",
        ),
    ] {
        let all = doubts(server);
        assert!(all.len() == 1 && all[0].contains(words) && all[0].contains(":1: "), "{all:?}");
    }
    let meant = format!(
        "{{address: '0.0.0.0:1', {tls}, access: [{{from: {{tokenFile: x}}, collections: []}}, {{from: {{any: peer}}, collections: ['*']}}]}}"
    );
    assert!(doubts(&meant).is_empty());
    let all = good(MINIMAL).doubts();
    assert!(all.len() == 1 && all[0].starts_with("nothing is saved (`state`)"), "{all:?}");
}

#[test]
fn the_state_is_kept_where_it_is_said_or_nowhere() {
    use chandler::config::State;
    use chandler::config::state::Kept;
    let state = |text: &str| good(&format!("{text}\n{MINIMAL}")).state;
    let kept =
        |dir: &str, max_age| State::Kept(Kept { dir: dir.into(), max_age: Duration::from_secs(max_age) });
    assert_eq!(state(""), State::Unsaid);
    assert_eq!(state("state:"), State::Unsaid);
    assert_eq!(state("state: off"), State::Off);
    assert_eq!(state("state: {dir: x}"), kept("/etc/chandler/x", 86_400));
    assert_eq!(state("state: {dir: /x, maxAge: 1h}"), kept("/x", 3_600));
    assert_eq!(Config::quickstart().unwrap().state, State::Off);
    refused("state: §{maxAge: 1h}\n", &["`dir` is missing"]);
    refused("state: {dir: §''}\n", &["must not be empty"]);
    refused("state: {dir: x, maxAge: §0s}\n", &["longer than nothing"]);
    refused("state: {dir: x, §maxage: 1h}\n", &["did you mean `maxAge`?"]);
    refused("state: §on\n", &["expected a map"]);
}

#[test]
fn a_listener_needs_an_address_of_its_own() {
    refused("server: {listeners: §[]}\n", &["no listener"]);
    refused("server: {listeners: [§{access: open}]}\n", &["`address` is missing"]);
    refused(
        "telemetry: {listen: §127.0.0.1:9903}\n",
        &["127.0.0.1:9903", "telemetry", "admin", "cannot both"],
    );
    refused(
        "server:\n  listeners:\n  - {address: '127.0.0.1:7'}\n  - {address: §'0.0.0.0:7', access: open}\n",
        &["cannot both be listened on"],
    );
}

#[test]
fn two_registries_of_one_name_are_refused() {
    let text = "registries:\n- {name: a, files: {path: x}}\n- {name: b, files: {path: x}}\n- {name: §a, files: {path: y}}\n";
    refused(text, &["two registries are called `a`", "line 2"]);
}

#[test]
fn a_registry_has_a_name_and_one_kind() {
    refused("registries: [§{files: {path: x}}]\n", &["`name` is missing"]);
    refused("registries: [{name: §'a b', files: {path: x}}]\n", &["`a b` is no legal name"]);
    refused("registries: [§{name: a}]\n", &["which kind of registry is this?", "`files`"]);
    refused("registries: [{name: a, §file: {path: x}}]\n", &["did you mean `files`?"]);
    refused("registries: [{name: a, files: §{}}]\n", &["`path` is missing"]);
    refused("registries: [{name: a, files: {path: §''}}]\n", &["must not be empty"]);
}

/// A registry whose `map` is `map`.
fn with_map(map: &str) -> String {
    format!("registries: [{{name: a, files: {{path: x}}, map: {map}}}]\n")
}

#[test]
fn a_template_with_an_unknown_placeholder_is_refused() {
    refused(&with_map("{hosts: [§'{servce}.y.{service}']}"), &["{servce}", "{service}"]);
    refused(
        &with_map("{hosts: [§'{datacenter}.x']}"),
        &["unknown placeholder {datacenter}", "There is {service}"],
    );
    refused(&with_map("{hosts: [§'{service.x']}"), &["not closed"]);
    refused(&with_map("{hosts: [§'{service}.my_company']}"), &["gives no legal host"]);
    refused(&with_map("{namespace: §'{service}_x'}"), &["gives no legal namespace"]);
}

#[test]
fn a_map_that_makes_no_sense_is_refused() {
    for (map, words) in [
        ("{protocol: §SCTP}", "a protocol that Istio knows"),
        ("{protocol: §HTP}", "did you mean `HTTP`?"),
        ("{servicePorts: §some}", "expected `auto` or `instance`"),
        ("{servicePorts: [80, §0]}", "a whole number from 1 to 65535"),
        ("{servicePorts: [80, §80]}", "stands in this list already"),
        ("{servicePorts: §[]}", "no port"),
        ("{addresses: §vip}", "expected `virtual`, `endpoints` or `none`"),
        ("{location: §mesh_internal}", "did you mean `MESH_INTERNAL`?"),
        ("{tlsMode: §mutual}", "expected `none` or `istio`"),
        ("{exportTo: [§Shop]}", "a namespace, `.` (its own)"),
        ("{exportTo: §['*', shop]}", "write them alone"),
        ("{labels: {include: [§'[']}}", "no pattern"),
        ("{labels: {rename: {a: §'b c'}}}", "no legal key of a label"),
        ("{labels: {rename: {a: c, b: §c}}}", "two labels cannot both become `c`"),
        ("{labels: {set: {a: §'x y'}}}", "no legal value of a label"),
        ("{labels: {set: {§-a: x}}}", "no legal key of a label"),
        ("{endpoints: [§{drop: true}]}", "`cidr` is missing"),
        ("{endpoints: [{cidr: §10.8.1.0/16}]}", "did you mean `10.8.0.0/16`?"),
        ("{endpoints: [{cidr: §here}]}", "a range of addresses such as"),
        ("{endpoints: [{cidr: 10.0.0.0/8, drop: §yes}]}", "expected true or false"),
        ("{endpoints: [§{cidr: 10.0.0.0/8, drop: true, network: x}]}", "nothing else can hold"),
    ] {
        refused(&with_map(map), &[words]);
    }
}

#[test]
fn virtual_addresses_belong_to_nobody_else() {
    let range = |r: &str| format!("mesh: {{virtualAddresses: [{r}]}}\n");
    refused(&range("§240.240.8.0/24"), &["240.240.0.0/16", "Istio"]);
    refused(&range("§240.0.0.0/4"), &["Istio"]);
    refused(&range("10.0.0.0/16, §10.0.8.0/24"), &["overlap"]);
    refused(&range("§245.0.0.0/6"), &["did you mean `244.0.0.0/6`?"]);
    refused(&range("§127.1.0.0/16"), &["the machine itself"]);
    refused(&range("§'2001:2::/64'"), &["Istio"]);
    refused(&range("§ten"), &["a range of addresses"]);
}

#[test]
fn pins_name_one_host_and_one_address_each() {
    let pins = |p: &str| format!("mesh: {{pins: {{{p}}}}}\n");
    refused(&pins("§a_b: 244.0.0.1"), &["no host", "a_b"]);
    refused(&pins("§'*.x.y': 244.0.0.1"), &["names many hosts"]);
    refused(&pins("a.b: §here"), &["an IP address"]);
    refused(&pins("a.b: 244.0.0.1, c.d: §244.0.0.1"), &["pinned to a.b already"]);
    refused(&pins("a.b: 244.0.0.1, §A.b: 244.0.0.2"), &["pinned twice"]);
    refused(&pins("a.b: §240.240.0.1"), &["Istio"]);
    refused("mesh: {virtualAddresses: [], pins: §{a.b: 244.0.0.1}}\n", &["pins have no effect"]);
}

#[test]
fn releases_older_than_the_wire_are_refused() {
    refused("mesh: {istio: {xds: §'1.8'}}\n", &["1.8 is older than 1.9"]);
    refused("mesh: {istio: {xds: §latest}}\n", &["a release of Istio"]);
    for wrong in ["1.0", "1.9", "old"] {
        refused(&format!("mesh: {{istio: {{legacy: §'{wrong}'}}}}\n"), &["from `\"1.1\"` to `\"1.8\"`"]);
    }
}

#[test]
fn a_lane_waits_at_most_as_long_as_at_least() {
    refused(
        "push: {endpointQuiet: §2s}\n",
        &["endpointMax (1s, by default) is less than endpointQuiet (2s)"],
    );
    refused("push: {topologyQuiet: 9s, topologyMax: §3s}\n", &["topologyMax (3s) is less"]);
    // Where one of them cannot be read, nothing is said about the other.
    refused("push: {endpointQuiet: 2s, endpointMax: §soon}\n", &["a duration"]);
}

#[test]
fn all_faults_are_told_at_once_each_with_its_line() {
    let text = "server:\n  listner: []\n  listeners:\n  - address: 0.0.0.0:9901\n  - address: nowhere\nregistries:\n- name: a\n  files: {path: x}\n  map: {hosts: ['{x}'], protocol: SCTP}\n- name: a\n  files: {pth: y}\npush: {endpointMax: 1}\nguard: {emptyServiceTTL: 10m}\nguard: {}\n";
    let errors = parse(text).unwrap_err();
    let lines: Vec<u32> = errors.faults().iter().map(|f| f.at.line).collect();
    assert_eq!(lines, [2, 4, 5, 9, 9, 10, 11, 11, 12, 14], "{errors}");
    let shown = errors.to_string();
    assert!(
        shown.starts_with(
            "c.yaml:2:3: unknown key `listner`: did you mean `listeners`?\n  2 |   listner: []\n    |   ^^^^^^^\nc.yaml:4:14: "
        ),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'));
    assert!(errors.display(Style::Colour).to_string().contains("\u{1b}["));
}

// Files that cannot be read.

fn load_fault(path: &Path) -> String {
    Config::load(path).unwrap_err().to_string()
}

#[test]
fn an_unreadable_file_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let missing = load_fault(&dir.path().join("absent.yaml"));
    assert!(
        missing.contains("absent.yaml: no such file: check the path, or leave --config out"),
        "{missing}"
    );
    assert!(load_fault(dir.path()).contains("is a directory: name a file in it"));
    let binary = dir.path().join("binary.yaml");
    std::fs::write(&binary, b"server:\n  x: \xff\xfe\n").unwrap();
    assert!(load_fault(&binary).contains("binary.yaml:2:6: not UTF-8"), "{}", load_fault(&binary));
    let large = dir.path().join("large.yaml");
    std::fs::write(&large, vec![b'#'; 5 << 20]).unwrap();
    assert!(load_fault(&large).contains("too many for a configuration"));
}

#[test]
fn a_file_is_named_as_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    std::fs::write(&path, "sever: {}\n").unwrap();
    assert!(load_fault(&path).starts_with(&format!("{}:1:1: ", path.display())));
}

// Reload.

fn registry(name: &str, path: &str) -> String {
    format!("- {{name: {name}, files: {{path: {path}}}}}\n")
}

fn with_registries(list: &[(&str, &str)]) -> Config {
    let list: String = list.iter().map(|(name, path)| registry(name, path)).collect();
    good(&format!("registries:\n{list}"))
}

fn name(name: &str) -> RegistryName {
    RegistryName::new(name)
}

#[test]
fn the_same_configuration_changes_nothing() {
    assert!(good(RICH).changes(&good(RICH)).unwrap().is_empty());
    let commented = format!("# other words\n{RICH}");
    assert!(good(RICH).changes(&good(&commented)).unwrap().is_empty());
}

#[test]
fn a_reload_knows_what_is_new_changed_kept_and_gone() {
    let old = with_registries(&[("a", "x"), ("b", "x"), ("c", "x")]);
    let plan = old.changes(&with_registries(&[("b", "y"), ("c", "x"), ("d", "x")])).unwrap();
    let expected = [(name("b"), Fate::Changed), (name("c"), Fate::Kept), (name("d"), Fate::Added)];
    assert_eq!(plan.registries, expected);
    assert_eq!(plan.removed, [name("a")]);
    assert_eq!(plan.to_string(), "new: d; changed: b; removed: a");
    assert!(!plan.reordered && plan.settings.is_empty() && !plan.is_empty());
}

#[test]
fn what_is_taken_and_how_it_appears_changes_without_a_restart_of_the_registry() {
    let (old, new) =
        (good(&with_map("{labels: {include: [a]}}")), good(&with_map("{labels: {include: [b]}}")));
    let plan = old.changes(&new).unwrap();
    assert_eq!((&*plan.registries, plan.is_empty()), (&[(name("a"), Fate::Adjusted)][..], false));
    assert_eq!(plan.to_string(), "adjusted: a");
    for other in
        ["select: {include: [{name: b}]}", "services: {b: {drop: true}}", "startup: {optional: true}"]
    {
        let (old, new) = (good(&with_registry("")), good(&with_registry(other)));
        assert_eq!(old.changes(&new).unwrap().registries, [(name("a"), Fate::Adjusted)], "{other}");
    }
}

/// A registry with one more line.
fn with_registry(line: &str) -> String {
    format!("registries:\n- name: a\n  files: {{path: x}}\n  {line}\n")
}

#[test]
fn what_is_taken_is_read_as_written() {
    let of = |line: &str| good(&with_registry(line)).registries.remove(0);
    let select =
        of("select: {include: [{name: 'web-*', tag: m}, {metadata: {team: 'p*'}}], exposedByDefault: false}");
    let select = select.policy.select;
    assert!(!select.exposed_by_default && select.exclude.is_empty());
    let [both, metadata] = select.include.as_slice() else { panic!("{select:?}") };
    assert!(both.name.as_ref().unwrap().is_match("web-1") && both.tag.as_ref().unwrap().is_match("m"));
    assert!(metadata.metadata[0].0.is_match("team") && metadata.metadata[0].1.is_match("pay"));

    let services =
        of("services: {'legacy-*': {protocol: TCP, aliases: ['{service}.old']}, x: {drop: true}, '*': {}}");
    let mapping = |name: &str| services.policy.mapping(name);
    assert_eq!(mapping("legacy-a").unwrap().protocol, Protocol::Tcp);
    assert_eq!(mapping("legacy-a").unwrap().aliases[0].as_str(), "{service}.old");
    assert!(mapping("x").is_none());
    assert_eq!(mapping("y"), Some(&services.policy.map));
    let order =
        of("services: {'*': {}, 'a*': {protocol: TCP}, ab: {protocol: TLS}, '*-long': {protocol: GRPC}}");
    let protocol = |name: &str| order.policy.mapping(name).unwrap().protocol;
    assert_eq!(["ab", "ac", "a-long"].map(protocol), [Protocol::Tls, Protocol::Tcp, Protocol::Grpc]);

    let startup = of("startup: {optional: true, wait: 5s}").startup;
    assert_eq!((startup.optional, startup.wait), (true, Duration::from_secs(5)));
    let may = of("map: {selfService: [host, weight]}").policy.map.self_service.may;
    assert_eq!(may.into_iter().collect::<Vec<_>>(), [Say::Weight, Say::Host]);
}

#[test]
fn an_exception_has_what_the_map_says_where_it_is_silent() {
    let text = "  map: {protocol: HTTP, labels: {set: {a: b}}, endpoints: [{cidr: 10.0.0.0/8, drop: true}]}\n  services: {x: {labels: {exclude: [c]}}}";
    let c = good(&format!("registries:\n- name: a\n  files: {{path: x}}\n{text}\n"));
    let mapping = c.registries[0].policy.mapping("x").unwrap();
    assert_eq!((mapping.protocol, mapping.labels.set.get("a")), (Protocol::Http, Some("b")));
    assert!(mapping.labels.exclude.is_match("c") && mapping.endpoints[0].drop);
}

#[test]
fn a_selection_that_makes_no_sense_is_refused() {
    let wrong = |line: &str, words: &[&str]| refused(&with_registry(line), words);
    wrong("select: {include: [§{}]}", &["without a condition", "`name`, `tag` or `metadata`"]);
    wrong("select: {include: [{metadata: §{}}]}", &["always holds"]);
    wrong("select: {include: [{name: §'a['}]}", &["no pattern"]);
    wrong("select: {exclude: [{§nmae: a}]}", &["did you mean `name`?"]);
    wrong("select: {exposedByDefault: §yes}", &["true or false"]);
    wrong("services: {x: §5}", &["expected a map"]);
    wrong("select: {include: [{name: a, tag: §[]}]}", &["expected text"]);
}

#[test]
fn an_exception_that_makes_no_sense_is_refused() {
    let wrong = |line: &str, words: &[&str]| refused(&with_registry(line), words);
    wrong("services: {a: §{drop: true, protocol: TCP}}", &["nothing else can hold"]);
    wrong("services: {a: {§portocol: TCP}}", &["did you mean `protocol`?"]);
    wrong("services: {a: {aliases: [§'{x}.y']}}", &["unknown placeholder"]);
    wrong("map: {§aliases: [a.b]}", &["unknown key `aliases`"]);
    wrong("map: {selfService: [§hots]}", &["did you mean `host`?"]);
    wrong("map: {selfService: [host, §host]}", &["in this list already"]);
    wrong("startup: {wait: §60}", &["a duration with its unit"]);
    let nothing = "  select: {§exposedByDefault: false}\n  map: {selfService: []}\n";
    refused(&format!("registries:\n- name: a\n  files: {{path: x}}\n{nothing}"), &["nothing could be taken"]);
}

#[test]
fn the_order_is_a_setting() {
    let old = with_registries(&[("a", "x"), ("b", "x")]);
    let plan = old.changes(&with_registries(&[("b", "x"), ("a", "x")])).unwrap();
    assert!(plan.reordered && plan.registries.iter().all(|(_, f)| *f == Fate::Kept) && !plan.is_empty());
    assert_eq!(plan.to_string(), "order: b, a");
}

#[test]
fn settings_that_differ_are_named() {
    let new = good(&format!(
        "push: {{endpointMax: 2s}}\nguard: {{emptyServiceTTL: 1m}}\nmesh: {{virtualAddresses: []}}\nserver: {{limits: {{messageSize: 1MiB}}}}\n{MINIMAL}"
    ));
    let plan = good(MINIMAL).changes(&new).unwrap();
    assert_eq!(
        plan.settings.into_iter().collect::<Vec<_>>(),
        [Setting::Limits, Setting::Mesh, Setting::Guard, Setting::Push]
    );
    assert_eq!(good(MINIMAL).changes(&good(MINIMAL)).unwrap().to_string(), "nothing changes");
}

#[test]
fn tls_and_access_change_while_the_address_stays() {
    let with = |tls: &str, access: &str| {
        good(&format!(
            "server: {{listeners: [{{address: '127.0.0.1:1', {tls} access: {access}}}]}}\nadmin: {{{tls} access: {access}}}\n{MINIMAL}"
        ))
    };
    let old = with("", "open");
    for new in [
        with("tls: {certFile: a, keyFile: b},", "open"),
        with("", "[{from: {any: peer}, collections: [se]}]"),
    ] {
        let settings: Vec<_> = old.changes(&new).unwrap().settings.into_iter().collect();
        assert_eq!(settings, [Setting::Listeners, Setting::Admin]);
        assert_eq!(old.changes(&new).unwrap().to_string(), "settings: server.listeners, admin");
    }
}

#[test]
fn addresses_to_listen_on_need_a_restart() {
    let new = good(&format!(
        "server: {{listeners: [{{address: '127.0.0.1:1'}}]}}\ntelemetry: {{listen: 127.0.0.1:2}}\nadmin: {{listen: 127.0.0.1:3}}\n{MINIMAL}"
    ));
    let refusal = good(MINIMAL).changes(&new).unwrap_err();
    assert_eq!(refusal.reasons.len(), 3);
    let words = refusal.to_string();
    for word in [
        "`server.listeners` cannot change while chandler runs",
        "(from 127.0.0.1:9901 to 127.0.0.1:1)",
        "(from 127.0.0.1:9903 to 127.0.0.1:3)",
        "restart chandler",
    ] {
        assert!(words.contains(word), "{words}");
    }
}

#[test]
fn where_the_state_lies_needs_a_restart_and_for_how_long_does_not() {
    let with = |state: &str| good(&format!("state: {state}\n{MINIMAL}"));
    let old = with("{dir: a}");
    for new in ["{dir: b}", "off"] {
        let words = old.changes(&with(new)).unwrap_err().to_string();
        assert!(
            words.contains("`state.dir` cannot change while chandler runs (from /etc/chandler/a to "),
            "{words}"
        );
    }
    assert_eq!(old.changes(&with("{dir: a, maxAge: 1h}")).unwrap().to_string(), "settings: state");
    assert!(good(MINIMAL).changes(&with("off")).is_ok());
}

// Whatever comes.

/// A correct configuration with one run of bytes replaced.
fn mutated() -> impl Strategy<Value = String> {
    let sources = prop::sample::select(vec![RICH, QUICKSTART, include_str!("../config/reference.yaml")]);
    let pieces = prop::sample::select(vec![
        "",
        ":",
        ": ",
        "-",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "&a ",
        "*a",
        "~",
        "0",
        "99999999999999999999",
        "true",
        "é",
        "\u{0}",
        "!!str ",
        "|\n",
        "<<: ",
        "---\n",
        "{service",
        "0.0.0.0/0",
        "::/0",
        "1e9",
        ".",
        "*",
    ]);
    (sources, any::<prop::sample::Index>(), 0..20_usize, pieces).prop_map(|(text, at, cut, piece)| {
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let end = (at + cut).min(chars.len());
        chars[..at].iter().copied().chain(piece.chars()).chain(chars[end..].iter().copied()).collect()
    })
}

/// Whatever is accepted can be shown and read back; whatever is not is told with words.
fn survives(text: &str) -> Result<(), TestCaseError> {
    match parse(text) {
        Ok(config) => {
            let shown = config.shown().to_string();
            prop_assert_eq!(parse(&shown).map_err(|e| TestCaseError::fail(e.to_string()))?, config);
        }
        Err(errors) => {
            prop_assert!(!errors.faults().is_empty());
            prop_assert!(!errors.display(Style::Colour).to_string().is_empty());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn no_mutation_of_a_configuration_panics(text in mutated()) {
        survives(&text)?;
    }
}

#[test]
fn control_planes_that_are_dialled_are_hosts_with_ports_each_once() {
    let text = "server:\n  mcp:\n    dial:\n    - {address: 'pilot.istio-system:15019'}\n    - address: '[::1]:1'\n      \
                tls: {caFile: ca.pem, serverName: pilot}\nregistries: [{name: a, files: {path: b}}]\n";
    let c = Config::parse(text, "c.yaml", Path::new("/etc")).unwrap();
    let dial = c.shown()["server"]["mcp"]["dial"].clone();
    let tls = serde_json::json!({"caFile": "/etc/ca.pem", "serverName": "pilot"});
    assert_eq!(
        dial,
        serde_json::json!([{"address": "pilot.istio-system:15019"}, {"address": "[::1]:1", "tls": tls}])
    );
    for wrong in ["'pilot'", "'pilot:0'", "'http://pilot:1'", "'a@pilot:1'", "':1'", "1"] {
        refused(&format!("server: {{mcp: {{dial: [{{address: §{wrong}}}]}}}}\n"), &["a host and a port"]);
    }
    refused("server: {mcp: {dial: [{address: 'a:1'}, {address: §'a:1'}]}}\n", &["dialled already"]);
    refused("server: {mcp: {dial: [{address: 'a:1', tls: §{keyFile: k}}]}}\n", &["go together"]);
}

#[test]
fn the_guard_of_a_service_goes_before_its_registry_s_and_that_before_all() {
    let config = good(
        "guard: {confirmReads: 5, removalHold: 2m, registryShrinkLimit: 50%}
registries:
- name: a
  files: {path: x}
  guard: {removalHold: 3m}
  services:
    batch-*: {guard: {emptyServiceHold: false}}
    other: {protocol: TCP}
- name: b
  files: {path: y}
",
    );
    let [a, b] = config.registries.as_slice() else { panic!() };
    assert_eq!(b.policy.guard, config.guard);
    let of = |name: &str| *a.policy.limits(name);
    assert_eq!((of("other").removal_hold, of("other").confirm_reads), (Duration::from_secs(180), 5));
    assert_eq!((of("other"), a.policy.guard.registry_shrink_limit), (a.policy.guard, 50));
    assert!(!of("batch-1").empty_service_hold && of("other").empty_service_hold);
    assert_eq!(of("batch-1").removal_hold, Duration::from_secs(180));
    refused(
        "registries:\n- name: a\n  files: {path: x}\n  services: {b: {guard: {§registryShrinkLimit: 5%}}}\n",
        &["about a registry as a whole"],
    );
}

#[test]
fn where_registries_go_is_wrong_in_its_place() {
    let with = |outputs: &str, sinks: &str| {
        format!("registries:\n- name: a\n  files: {{path: x}}\n  outputs: {outputs}\nsinks:\n{sinks}")
    };
    let one = "- name: cluster\n  kubernetes: {}\n";
    for (text, words) in [
        (with("[cluster, §clster]", one), &["there is no sink `clster`", "did you mean `cluster`?"][..]),
        (with("[cluster, §cluster]", one), &["`cluster` stands here twice"]),
        (with("§[]", ""), &["nowhere"]),
        (with("[{sink: cluster, form: §inlined}]", one), &["did you mean `inline`?"]),
        (
            with("[wires]", "- name: §cluster\n  kubernetes: {}\n"),
            &["nothing goes to this sink", "outputs: [cluster]"],
        ),
        (with("[wires]", "- name: §wires\n  kubernetes: {}\n"), &["choose another name"]),
        (with("[cluster]", "- §name: cluster\n"), &["which kind of sink is this?"]),
        (
            with("[cluster]", &format!("{one}- name: §cluster\n  kubernetes: {{}}\n")),
            &["two sinks are called `cluster`"],
        ),
        (
            with("[cluster]", "- name: cluster\n  kubernetes: {context: §x}\n"),
            &["name that file as `kubeconfig`"],
        ),
        (with("[cluster]", "- name: cluster\n  kubernetes: {leaseDuration: §10s}\n"), &["from 15s to 10m"]),
        (
            with("[cluster]", "- name: cluster\n  kubernetes: {namespaces: [a, §A.b]}\n"),
            &["no name of a namespace"],
        ),
        (
            with("[cluster]", "- name: cluster\n  kubernetes: {§kubecnfig: x}\n"),
            &["did you mean `kubeconfig`?"],
        ),
        (
            with(
                "[a, b]",
                "- name: a\n  kubernetes: {instance: i}\n- §name: b\n  kubernetes: {instance: i}\n",
            ),
            &["the same `instance` as the sink `a`"],
        ),
    ] {
        refused(&text, words);
    }
}

#[test]
fn a_registry_that_goes_both_ways_is_doubted() {
    let text = |outputs: &str| {
        format!(
            "registries: [{{name: a, files: {{path: x}}, outputs: {outputs}}}]\nsinks: [{{name: east, kubernetes: {{}}}}]\nstate: off\n"
        )
    };
    let doubts = good(&text("[wires, east]")).doubts().join("\n");
    assert!(doubts.contains("`a` goes to the wires and to east") && doubts.contains("twice"), "{doubts}");
    let alone = good(&text("[east]"));
    assert!(alone.doubts().is_empty());
    let a = chandler::model::service::RegistryName::new("a");
    assert!(!alone.sinks.is_on_the_wires(&a) && alone.sinks.takes("east").contains_key(&a));
}
