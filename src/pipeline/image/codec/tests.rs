//! Bytes that are not what was written. (That what was written is read is held in `engine/keep`, for whatever happens.)

use proptest::prelude::*;

use super::*;
use crate::model::admitted::Admitted;
use crate::model::catalog::Known;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts, TlsMode, Weight};
use crate::model::host::Host;
use crate::model::service::{
    Addresses, ItemKind, LeftOut, Location, Protocol, Says, Scope, Service, ServiceKey, ServicePort,
};
use crate::pipeline::image::{HostImage, ItemImage, RegistryImage};

fn frames(image: &Image) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let put = |frame: &[u8]| {
        frames.push(frame.to_vec());
        Ok::<_, ()>(())
    };
    encode(image, put).unwrap();
    frames
}

fn slices(frames: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    frames.iter().map(Vec::as_slice)
}

fn key(name: &str) -> ServiceKey {
    ServiceKey { kind: ItemKind::Service, name: name.into(), scope: Scope::new("all") }
}

/// Two registries, the second in several frames, and a host.
fn image() -> Image {
    let registry = |count: usize, fill: usize| {
        let item = |n: usize| {
            let key = key(&format!("s{n}"));
            let mut service = Service::new(key.clone(), "s");
            service.labels = [("fill", "x".repeat(fill))].into_iter().collect();
            let known = Known::Service(service.into(), Admitted::claiming(Vec::new()).into());
            (key, ItemImage { known: Some(known), ..ItemImage::default() })
        };
        RegistryImage { items: (0..count).map(item).collect(), ..RegistryImage::default() }
    };
    let mut image = Image::default();
    image.registries.insert(RegistryName::new("a"), registry(1, 1));
    image.registries.insert(RegistryName::new("b"), registry(5, FRAME / 2));
    image.registries.insert(RegistryName::new("empty"), RegistryImage::default());
    let addresses = vec!["244.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    image.hosts.insert(Host::parse("h.test").unwrap(), HostImage { addresses, ..HostImage::default() });
    image
}

#[test]
fn a_registry_of_which_a_part_is_missing_is_not_there_and_the_others_are() {
    let (image, frames) = (image(), frames(&image()));
    assert_eq!(frames.len(), 7, "head, hosts, a, three of b, empty");
    for lost in 3..6 {
        let rest = slices(&frames).enumerate().filter(|(n, _)| *n != lost).map(|(_, frame)| frame);
        let (read, faults) = decode(rest);
        assert_eq!(read.registries.keys().map(RegistryName::as_str).collect::<Vec<_>>(), ["a", "empty"]);
        assert_eq!(read.hosts, image.hosts);
        assert!(
            matches!(&faults[..], [Unreadable::Registry { registry, .. }] if registry == "b"),
            "{faults:?}"
        );
    }
}

#[test]
fn without_its_head_addresses_are_all_that_is_read() {
    let frames = frames(&image());
    let (read, faults) = decode(slices(&frames[1..]));
    assert_eq!((read.registries.len(), read.hosts), (0, image().hosts));
    assert_eq!(faults, [Unreadable::Head]);
}

#[test]
fn what_a_newer_chandler_adds_is_skipped_and_what_it_means_otherwise_is_refused() {
    let mut frames = frames(&image());
    // Field 1000, a varint, in the head: unknown.
    frames[0].extend_from_slice(&[0x12, 0x00]);
    let inner = [0xc0, 0x3e, 0x01];
    frames.push([&[0x0a, 3][..], &inner].concat());
    let (read, faults) = decode(slices(&frames));
    assert_eq!((read.registries.len(), faults), (3, vec![]));
    let strange = pb::Registry {
        name: "c".into(),
        last: true,
        items: vec![pb::Item { kind: 77, key: "x".into(), ..pb::Item::default() }],
        ..pb::Registry::default()
    };
    frames.push(pb::Part { part: Some(pb::part::Part::Registry(strange)) }.encode_to_vec());
    let (read, faults) = decode(slices(&frames));
    assert_eq!(read.registries.len(), 3);
    assert_eq!(
        faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["registry c: the value 77 is of a newer chandler"]
    );
}

fn text() -> impl Strategy<Value = String> {
    "[a-zü. /]{0,6}"
}

fn pairs() -> impl Strategy<Value = crate::model::labels::Labels> {
    prop::collection::btree_map(text(), text(), 0..3).prop_map(|map| map.into_iter().collect())
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let address = prop_oneof![
        any::<std::net::IpAddr>().prop_map(Address::Ip),
        "[a-z]{1,5}\\.test".prop_map(|name| Address::parse(&name).unwrap()),
        "unix://(/[a-z]{1,5}|@[a-z]{1,5})".prop_map(|name| Address::parse(&name).unwrap()),
    ];
    let named = prop::collection::btree_map(text().prop_map(Into::into), 1_u16.., 0..3)
        .prop_map(|ports| EndpointPorts::Named(ports.into_iter().collect()));
    let ports = prop_oneof![Just(EndpointPorts::AsService), (1_u16..).prop_map(EndpointPorts::One), named];
    let word = || prop::option::of(text().prop_map(Into::into));
    let mode = prop_oneof![Just(None), Just(Some(TlsMode::None)), Just(Some(TlsMode::Istio))];
    let first = (text(), address, ports, pairs(), prop::collection::btree_set(text(), 0..3));
    let rest = (word(), word(), word(), mode, 0_u32..2_000_000_000);
    (first, rest).prop_map(|((id, address, ports, labels, tags), rest)| {
        let (locality, network, service_account, tls_mode, weight) = rest;
        let (id, weight) = (id.into(), Weight::of_thousandths(weight));
        let tags = tags.into_iter().collect();
        Endpoint { id, address, ports, labels, tags, locality, network, service_account, tls_mode, weight }
    })
}

fn says() -> impl Strategy<Value = Says> {
    let words = || prop::collection::vec(text().prop_map(Into::into), 0..3);
    let location = prop::sample::select(vec![
        None,
        Some(Location::Auto),
        Some(Location::MeshInternal),
        Some(Location::MeshExternal),
    ]);
    let addresses = prop::sample::select(vec![
        None,
        Some(Addresses::Virtual),
        Some(Addresses::Endpoints),
        Some(Addresses::None),
    ]);
    let protocol = prop::sample::select(vec![None, Some(Protocol::Auto), Some(Protocol::GrpcWeb)]);
    let ports = prop::option::of(prop::collection::vec(1_u16.., 1..3).prop_map(Into::into));
    let all = (prop::option::of(words()), location, addresses, protocol, ports, words());
    all.prop_map(|(export_to, location, addresses, protocol, service_ports, subject_alt_names)| Says {
        namespace: None,
        protocol,
        export_to,
        location,
        addresses,
        tls_mode: None,
        service_ports,
        subject_alt_names,
    })
}

fn service() -> impl Strategy<Value = Service> {
    let port =
        (1_u16.., prop::option::of(text()), prop::option::of(1_u16..)).prop_map(|(number, name, target)| {
            ServicePort { number, name: name.map(Into::into), protocol: Some(Protocol::Mysql), target }
        });
    let left_out = prop::collection::vec((text(), text()), 0..30).prop_map(|all| {
        let mut out = LeftOut::default();
        all.into_iter().for_each(|(reason, id)| out.add(&reason, id));
        out
    });
    let many = (prop::collection::vec(port, 0..3), prop::collection::vec(endpoint(), 0..4));
    (text(), many, left_out, pairs(), pairs(), says()).prop_map(
        |(name, (ports, endpoints), left_out, labels, variables, says)| Service {
            ports,
            endpoints,
            left_out,
            labels,
            variables,
            says,
            hosts: vec![Host::parse("*.wild.test").unwrap()],
            ..Service::new(key("s"), name)
        },
    )
}

proptest! {
    #[test]
    fn any_service_is_read_as_it_was_written(service in service()) {
        let known = Known::Service(service.into(), Admitted::claiming(Vec::new()).into());
        let item = ItemImage { known: Some(known), ..ItemImage::default() };
        let registry = RegistryImage { items: [(key("s"), item)].into(), ..RegistryImage::default() };
        let image = Image { registries: [(RegistryName::new("a"), registry)].into(), ..Image::default() };
        let frames = frames(&image);
        let (read, faults) = decode(slices(&frames));
        prop_assert_eq!(faults, vec![]);
        prop_assert_eq!(read, image);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let _any = decode(slices(&noise));
        let mut small = frames(&Image { registries: Default::default(), ..image() });
        let flat: usize = small.iter().map(Vec::len).sum();
        let mut at = at.index(flat);
        for frame in &mut small {
            if at < frame.len() {
                frame[at] = byte;
                break;
            }
            at -= frame.len();
        }
        let _any = decode(slices(&small));
    }
}
