//! Rules over peers.

use super::*;
use crate::security::peer::Token;

const SECRET: &str = "0123456789abcdef";

fn peer(address: &str, names: &[&str], token: Option<&str>) -> Peer {
    let name = |n: &&str| match n.contains("://") {
        true => Identity::Uri((*n).into()),
        false => Identity::Dns((*n).into()),
    };
    Peer {
        address: std::net::SocketAddr::new(address.parse().unwrap(), 4711),
        identities: names.iter().map(name).collect(),
        token: token.map(Token::new),
    }
}

fn grant(condition: Condition, collections: Collections) -> Rule {
    Rule::Grant { from: vec![condition], collections }
}

fn rules(rules: &[Rule]) -> Arc<Rules> {
    Rules::load(rules, &Keeper::default())
}

fn may(rules: &Rules, peer: &Peer, collection: Collection) -> bool {
    rules.authorize(peer, collection).is_ok()
}

fn cidr(text: &str) -> Condition {
    Condition::Cidr(text.parse().unwrap())
}

fn spiffe(text: &str) -> Condition {
    Condition::Spiffe(SpiffePattern::parse(text).unwrap())
}

fn only(collection: Collection) -> Collections {
    Collections::These([collection].into())
}

const SE: Collection = Collection::ServiceEntry;
const WE: Collection = Collection::WorkloadEntry;

#[test]
fn each_condition_looks_at_its_fact() {
    let dns = Condition::Dns(DnsPattern::parse("*.pilots.example").unwrap());
    for (condition, inside, outside) in [
        (cidr("10.0.0.0/8"), peer("10.1.2.3", &[], None), peer("11.1.2.3", &[], None)),
        (cidr("10.0.0.0/8"), peer("::ffff:10.1.2.3", &[], None), peer("::1", &[], None)),
        (cidr("fd00::/8"), peer("fd00::1", &[], None), peer("10.0.0.1", &[], None)),
        (
            spiffe("spiffe://*/ns/a/sa/*"),
            peer("10.0.0.1", &["spiffe://td/ns/a/sa/b"], None),
            peer("10.0.0.1", &["spiffe://td/ns/b/sa/b"], None),
        ),
        (
            dns,
            peer("10.0.0.1", &["a.pilots.example"], None),
            // A URI is no DNS name, whatever it looks like.
            peer("10.0.0.1", &["spiffe://a.pilots.example"], None),
        ),
        (
            Condition::AnyCertificate,
            peer("10.0.0.1", &["x"], None),
            peer("10.0.0.1", &[], Some("0123456789abcdef")),
        ),
    ] {
        let rules = rules(&[grant(condition.clone(), Collections::All)]);
        assert_eq!((rules.admit(&inside), may(&rules, &inside, SE)), (Ok(()), true), "{condition:?}");
        assert!(rules.admit(&outside).is_err() && !may(&rules, &outside, SE), "{condition:?}");
    }
}

#[test]
fn the_first_rule_that_knows_the_peer_decides_also_against_it() {
    let rules = rules(&[
        grant(cidr("10.9.0.0/16"), Collections::These(BTreeSet::new())),
        grant(cidr("10.0.0.0/8"), only(SE)),
        grant(Condition::AnyPeer, only(WE)),
    ]);
    let (refused, known, other) =
        (peer("10.9.0.1", &[], None), peer("10.1.0.1", &[], None), peer("192.0.2.1", &[], None));
    assert!(rules.admit(&refused).is_err() && !may(&rules, &refused, WE));
    assert_eq!([SE, WE].map(|c| may(&rules, &known, c)), [true, false]);
    assert_eq!([SE, WE].map(|c| may(&rules, &other, c)), [false, true]);
}

#[test]
fn all_conditions_of_a_rule_must_hold() {
    let both = vec![cidr("10.0.0.0/8"), spiffe("spiffe://td/ns/a/sa/b")];
    let nobody = Rule::Grant { from: Vec::new(), collections: Collections::All };
    assert!(rules(&[nobody]).admit(&peer("10.0.0.1", &[], None)).is_err(), "no condition lets in nobody");
    let rules = rules(&[Rule::Grant { from: both, collections: Collections::All }]);
    let id = &["spiffe://td/ns/a/sa/b"];
    assert!(rules.admit(&peer("10.0.0.1", id, None)).is_ok());
    assert!(rules.admit(&peer("11.0.0.1", id, None)).is_err());
    assert!(rules.admit(&peer("10.0.0.1", &[], None)).is_err());
}

#[test]
fn whom_nobody_knows_is_told_what_to_show() {
    let words = |rules: &Rules, peer: &Peer| match rules.admit(peer) {
        Err(Denied::Unauthenticated(words)) => format!("401 {words}"),
        Err(Denied::Forbidden(words)) => format!("403 {words}"),
        Ok(()) => "let in".into(),
    };
    let certificates = rules(&[grant(spiffe("spiffe://td/ns/a/sa/b"), Collections::All)]);
    assert!(
        words(&certificates, &peer("10.0.0.1", &[], None))
            .contains("401 nothing is known of you: show a client certificate")
    );
    // Who it is, is known; that is what 403 says.
    assert!(words(&certificates, &peer("10.0.0.1", &["spiffe://td/ns/a/sa/c"], None)).starts_with("403"));
    let tokens = rules(&[grant(Condition::TokenFile("/nowhere".into()), Collections::All)]);
    assert!(words(&tokens, &peer("10.0.0.1", &[], None)).contains("show a bearer token"));
    assert!(words(&tokens, &peer("10.0.0.1", &[], Some("wrong"))).starts_with("401"));
    let addresses = rules(&[grant(cidr("10.0.0.0/8"), Collections::All)]);
    assert!(words(&addresses, &peer("11.0.0.1", &[], None)).contains("your address"));
    assert!(rules(&[]).admit(&peer("10.0.0.1", &[], None)).is_err(), "no rule knows anybody");
}

#[test]
fn tokens_that_are_gone_stay_known_until_there_are_others() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    let keeper = Keeper::default();
    let rules = Rules::load(&[grant(Condition::TokenFile(file.clone()), only(SE))], &keeper);
    let (known, other) =
        (peer("10.0.0.1", &[], Some(SECRET)), peer("10.0.0.1", &[], Some("fedcba9876543210")));
    assert!(rules.admit(&known).is_err(), "there never was a file");
    std::fs::write(&file, SECRET).unwrap();
    keeper.look();
    assert_eq!([SE, WE].map(|c| may(&rules, &known, c)), [true, false]);
    assert!(rules.admit(&other).is_err());
    std::fs::remove_file(&file).unwrap();
    keeper.look();
    assert!(rules.admit(&known).is_ok());
    std::fs::write(&file, "fedcba9876543210").unwrap();
    keeper.look();
    assert!(rules.admit(&known).is_err() && rules.admit(&other).is_ok());
}

#[test]
fn an_access_list_that_nobody_has_read_refuses_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("accesslist.yaml");
    let keeper = Keeper::default();
    let behind = grant(Condition::AnyPeer, Collections::All);
    let rules = Rules::load(&[Rule::AccessList(file.clone()), behind], &keeper);
    let (listed, unlisted) =
        (peer("10.0.0.1", &["spiffe://a"], None), peer("10.0.0.1", &["spiffe://b"], None));
    let may = || [&listed, &unlisted].map(|peer| rules.admit(peer).is_ok());
    assert_eq!(may(), [false, false], "missing: it could have refused anybody");
    std::fs::write(&file, "allowed: [").unwrap();
    keeper.look();
    assert_eq!(may(), [false, false], "unparsable");
    std::fs::write(&file, "allowed: [spiffe://a]\nisblacklist: true\n").unwrap();
    keeper.look();
    assert_eq!(may(), [false, true]);
    for broken in [Some("allowed: {"), None] {
        match broken {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        keeper.look();
        assert_eq!(may(), [false, true], "the last one stays: {broken:?}");
    }
}
