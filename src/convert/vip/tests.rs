use proptest::prelude::*;

use super::*;

fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

fn hosts(range: std::ops::Range<usize>) -> BTreeSet<Host> {
    range.map(|i| host(&format!("s{i}.test"))).collect()
}

fn ranges(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|r| r.parse().unwrap()).collect()
}

fn addresses(list: &[&str]) -> VirtualAddresses {
    VirtualAddresses::new(ranges(list), BTreeMap::new())
}

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

fn assert_unique(a: &VirtualAddresses) {
    let all: Vec<&IpAddr> = a.entries().values().flatten().collect();
    assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len());
}

#[test]
fn every_host_gets_one_address_of_each_family() {
    let mut a = addresses(&["244.0.0.0/6", "2001:db8::/64", "243.0.0.0/24"]);
    assert_eq!(a.assign(&hosts(0..100)), []);
    for h in hosts(0..100) {
        let [v4, v6] = a.get(&h) else { panic!("{:?}", a.get(&h)) };
        assert!(v4.is_ipv4() && v6.is_ipv6());
        assert!(ranges(&["244.0.0.0/6", "243.0.0.0/24"]).iter().any(|r| r.contains(v4)));
    }
    assert_unique(&a);
    assert_eq!(a.get(&host("other.test")), [] as [IpAddr; 0]);
}

#[test]
fn an_address_follows_from_the_host_alone() {
    // Fixed for ever: the hash must not change between releases.
    let mut a = addresses(&["244.0.0.0/6"]);
    a.assign(&BTreeSet::from([host("web.service.consul")]));
    assert_eq!(a.get(&host("web.service.consul")), [ip("246.234.168.217")]);
}

#[test]
fn without_ranges_nobody_has_an_address() {
    let mut a = addresses(&[]);
    assert_eq!((a.assign(&hosts(0..3)), a.entries().len()), (vec![], 0));
}

#[test]
fn the_ends_of_a_range_are_not_given() {
    let mut a = addresses(&["10.1.1.0/29"]);
    assert_eq!(a.assign(&hosts(0..6)), []);
    let given: BTreeSet<IpAddr> = a.entries().values().flatten().copied().collect();
    assert_eq!(given, (1..7).map(|n| IpAddr::from([10, 1, 1, n])).collect());
    assert!(a.collisions() > 0);
}

#[test]
fn an_exhausted_range_is_named_and_the_rest_is_served() {
    let mut a = addresses(&["10.1.1.0/29", "2001:db8::/64"]);
    let without = a.assign(&hosts(0..8));
    assert_eq!(without.len(), 2);
    assert!(without[0].to_string().contains("no virtual IPv4 address is left for s"), "{}", without[0]);
    assert!(without[0].to_string().contains("mesh.virtualAddresses"));
    assert_eq!(a.entries().len(), 8);
    // Who went without is served as soon as somebody leaves.
    let leaver = hosts(0..8).into_iter().find(|h| a.get(h).len() == 2).unwrap();
    a.release(&leaver);
    let rest: BTreeSet<Host> = hosts(0..8).into_iter().filter(|h| *h != leaver).collect();
    assert_eq!(a.assign(&rest).len(), 1);
}

#[test]
fn a_pinned_host_has_its_pin_and_nobody_else_has() {
    let pin = ip("10.1.1.3");
    let mut a = VirtualAddresses::new(ranges(&["10.1.1.0/29"]), BTreeMap::from([(host("s9.test"), pin)]));
    assert_eq!(a.assign(&hosts(0..6)).len(), 1);
    assert!(a.entries().values().flatten().all(|ip| *ip != pin));
    assert_eq!(a.assign(&hosts(9..10)), []);
    assert_eq!(a.get(&host("s9.test")), [pin]);
}

#[test]
fn a_pin_may_lie_outside_of_the_ranges() {
    let pins = BTreeMap::from([(host("a.test"), ip("192.0.2.1")), (host("b.test"), ip("192.0.2.1"))]);
    let mut a = VirtualAddresses::new(Vec::new(), pins);
    assert_eq!(a.assign(&BTreeSet::from([host("a.test"), host("b.test"), host("c.test")])), []);
    assert_eq!(a.get(&host("a.test")), [ip("192.0.2.1")]);
    assert_eq!(a.entries().len(), 1);
}

#[test]
fn a_released_address_is_free_again() {
    let mut a = addresses(&["10.1.1.0/30"]);
    assert_eq!(a.assign(&hosts(0..2)), []);
    a.release(&host("s0.test"));
    assert_eq!(a.get(&host("s0.test")), [] as [IpAddr; 0]);
    assert_eq!(a.assign(&hosts(2..3)), []);
}

#[test]
fn what_was_saved_comes_back_as_far_as_it_is_right() {
    let mut a = addresses(&["10.1.1.0/24"]);
    let saved = BTreeMap::from([
        (host("a.test"), vec![ip("10.1.1.7"), ip("10.1.1.8")]),
        (host("b.test"), vec![ip("10.1.1.7")]),
        (host("c.test"), vec![ip("10.9.9.9")]),
        (host("d.test"), vec![ip("2001:db8::1")]),
    ]);
    a.restore(saved);
    assert_eq!(a.entries(), &BTreeMap::from([(host("a.test"), vec![ip("10.1.1.7")])]));
    a.assign(&BTreeSet::from([host("a.test"), host("b.test")]));
    assert_eq!(a.get(&host("a.test")), [ip("10.1.1.7")]);
    assert_unique(&a);
}

#[test]
fn other_ranges_move_only_those_outside_of_them() {
    let mut a = addresses(&["10.1.0.0/16"]);
    a.assign(&hosts(0..50));
    let before = a.entries().clone();
    a.reconfigure(
        ranges(&["10.1.0.0/17", "2001:db8::/64"]),
        BTreeMap::from([(host("s3.test"), ip("10.7.7.7"))]),
    );
    let kept: IpNet = "10.1.0.0/17".parse().unwrap();
    assert_eq!(a.get(&host("s3.test"))[0], ip("10.7.7.7"));
    for (h, old) in before.iter().filter(|(h, _)| h.as_str() != "s3.test") {
        assert_eq!(a.get(h).len(), 2);
        assert!(kept.contains(&a.get(h)[0]));
        assert_eq!(kept.contains(&old[0]), a.get(h)[0] == old[0], "{h}");
    }
    assert_unique(&a);
    a.reconfigure(Vec::new(), BTreeMap::new());
    assert!(a.entries().is_empty());
}

#[test]
fn overlapping_and_whole_ranges_are_fine() {
    let mut a = addresses(&["10.1.1.0/29", "10.1.1.0/30", "::/0", "10.1.1.1/32"]);
    assert_eq!(a.assign(&hosts(0..6)), []);
    assert_unique(&a);
    let mut one = addresses(&["10.1.1.1/32"]);
    assert_eq!(one.assign(&hosts(0..1)), []);
    assert_eq!(one.get(&host("s0.test")), [ip("10.1.1.1")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn replicas_agree_on_a_batch_and_nobody_moves_for_newcomers(
        batches in prop::collection::vec(prop::collection::btree_set(0usize..200, 0..40), 1..5),
        prefix in 22u8..30,
    ) {
        let range = format!("10.1.0.0/{prefix}");
        let (mut a, mut b) = (addresses(&[&range]), addresses(&[&range]));
        for batch in batches {
            let batch: BTreeSet<Host> = batch.into_iter().map(|i| host(&format!("s{i}.test"))).collect();
            let before = a.entries().clone();
            prop_assert_eq!(a.assign(&batch), b.assign(&batch));
            prop_assert_eq!(a.entries(), b.entries());
            for (h, ips) in &before {
                prop_assert_eq!(a.get(h), ips.as_slice());
            }
            assert_unique(&a);
            // A restart from disk.
            let mut restored = addresses(&[&range]);
            restored.restore(a.entries().clone());
            prop_assert_eq!(restored.entries(), a.entries());
            b = restored;
        }
    }
}
