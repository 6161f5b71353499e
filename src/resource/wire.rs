//! How one resource looks on a wire: the envelope around its shared body.
//!
//! Written by hand over prost's primitives, because a rendered block is hundreds of envelopes and the generated types
//! would copy every string of them; the tests decode each flavour with the generated types.

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::resource::encoded::Encoded;
use crate::resource::legacy::Stir;

/// The create time of every resource, in seconds since 1970: 2099-01-01T00:00:00Z.
///
/// Fixed, so that it never causes a push where none is wanted (see [`Stir`]); late, because istiod sorts services of one host by age and an object that a
/// user wrote in Kubernetes must win.
pub const CREATE_TIME: i64 = 4_070_908_800;

/// The type URL of the envelope.
pub const RESOURCE_TYPE_URL: &str = "type.googleapis.com/istio.mcp.v1alpha1.Resource";

/// A form in which a resource stands in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// MCP over xDS: field 2 of a `DiscoveryResponse`, an `Any` around the envelope.
    Xds,
    /// The same without `metadata.version`, which istiod 1.9 to 1.11 cannot update over.
    XdsUnversioned,
    /// Delta: field 2 of a `DeltaDiscoveryResponse`, named and versioned, an `Any` around the envelope.
    Delta,
    /// Legacy: field 3 of a `Resources`, the bare envelope. Always with metadata, body and version: Pilot crashes without
    /// the first, refuses all without the second, and overlooks changes without the third.
    Legacy,
}

impl Flavour {
    /// How many flavours a block may be rendered in.
    pub const COUNT: usize = 4;

    /// Its place in tables of [`Flavour::COUNT`] rows.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Appends `resource` to `out` as one element of the response's repeated field.
pub fn render(resource: &Encoded, flavour: Flavour, out: &mut Vec<u8>) {
    let version = resource.version.to_string();
    let version = if flavour == Flavour::XdsUnversioned { "" } else { &version };
    let stir = if flavour == Flavour::Legacy { resource.fitness.stir } else { Stir::default() };
    let envelope = Envelope::measure(resource, version, Time::of(stir));
    let any = string_len(RESOURCE_TYPE_URL.len()) + string_len(envelope.len);
    match flavour {
        Flavour::Xds | Flavour::XdsUnversioned => {
            put_header(2, any, out);
            envelope.put_any(out);
        }
        Flavour::Delta => {
            let name = resource.id.name.as_str();
            put_header(2, string_len(version.len()) + string_len(any) + string_len(name.len()), out);
            put_string(1, version, out);
            put_header(2, any, out);
            envelope.put_any(out);
            put_string(3, name, out);
        }
        Flavour::Legacy => {
            put_header(3, envelope.len, out);
            envelope.put(out);
        }
    }
}

/// `istio.mcp.v1alpha1.Resource`, measured before it is written, as protobuf wants it.
struct Envelope<'a> {
    resource: &'a Encoded,
    version: &'a str,
    created: Time,
    body_message: &'static str,
    metadata: usize,
    body: usize,
    len: usize,
}

/// In front of a message's name in an `Any`.
const TYPE_PREFIX: &str = "type.googleapis.com/";

impl<'a> Envelope<'a> {
    fn measure(resource: &'a Encoded, version: &'a str, created: Time) -> Self {
        let body_message = resource.id.collection.body_message();
        let pairs = |l: &crate::model::labels::Labels| -> usize {
            l.iter().map(|(k, v)| string_len(pair_len(k, v))).sum()
        };
        let metadata = string_len(resource.id.name.as_str().len())
            + string_len(created.len())
            + if version.is_empty() { 0 } else { string_len(version.len()) }
            + pairs(&resource.labels)
            + pairs(&resource.annotations);
        let body = string_len(TYPE_PREFIX.len() + body_message.len())
            + if resource.body.is_empty() { 0 } else { string_len(resource.body.len()) };
        let len = string_len(metadata) + string_len(body);
        Self { resource, version, created, body_message, metadata, body, len }
    }

    fn put_any(&self, out: &mut Vec<u8>) {
        put_string(1, RESOURCE_TYPE_URL, out);
        put_header(2, self.len, out);
        self.put(out);
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_header(1, self.metadata, out);
        put_string(1, self.resource.id.name.as_str(), out);
        put_header(2, self.created.len(), out);
        self.created.put(out);
        if !self.version.is_empty() {
            put_string(3, self.version, out);
        }
        for (field, pairs) in [(4, &self.resource.labels), (5, &self.resource.annotations)] {
            for (k, v) in pairs.iter() {
                put_header(field, pair_len(k, v), out);
                put_string(1, k, out);
                put_string(2, v, out);
            }
        }
        put_header(2, self.body, out);
        put_header(1, TYPE_PREFIX.len() + self.body_message.len(), out);
        out.put_slice(TYPE_PREFIX.as_bytes());
        out.put_slice(self.body_message.as_bytes());
        if !self.resource.body.is_empty() {
            put_header(2, self.resource.body.len(), out);
            out.put_slice(&self.resource.body);
        }
    }
}

/// The length of a length-delimited field with a one-byte key.
fn string_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn pair_len(k: &str, v: &str) -> usize {
    string_len(k.len()) + string_len(v.len())
}

/// A `google.protobuf.Timestamp`.
#[derive(Debug, Clone, Copy)]
struct Time {
    seconds: u64,
    nanoseconds: u64,
}

impl Time {
    fn of(stir: Stir) -> Self {
        let second = 1_000_000_000;
        let (seconds, nanoseconds) = (stir.nanoseconds() / second, stir.nanoseconds() % second);
        Self { seconds: CREATE_TIME.cast_unsigned() + seconds, nanoseconds }
    }

    /// As proto3 wants it: what is zero is left out.
    fn fields(self) -> impl Iterator<Item = (u32, u64)> {
        [(1, self.seconds), (2, self.nanoseconds)].into_iter().filter(|(_, value)| *value != 0)
    }

    fn len(self) -> usize {
        self.fields().map(|(_, value)| 1 + encoded_len_varint(value)).sum()
    }

    fn put(self, out: &mut Vec<u8>) {
        for (field, value) in self.fields() {
            encode_key(field, WireType::Varint, out);
            encode_varint(value, out);
        }
    }
}

/// The key and the length of a length-delimited field.
pub fn put_header(field: u32, len: usize, out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

/// A whole string field; fields 1 to 15 only where the length was measured with one key byte.
pub fn put_string(field: u32, s: &str, out: &mut Vec<u8>) {
    put_header(field, s.len(), out);
    out.put_slice(s.as_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::*;
    use crate::model::labels::Labels;
    use crate::proto::{discovery, mcp};
    use crate::resource::collection::Collection;
    use crate::resource::encoded::{ResourceId, ResourceName, TopologyHash};
    use crate::resource::legacy::Fitness;

    fn resource(body: &'static [u8]) -> Encoded {
        let id = ResourceId {
            collection: Collection::ServiceEntry,
            name: ResourceName::new("chandler", "web.example"),
        };
        let labels: Labels = [("app", "web"), ("empty", "")].into_iter().collect();
        let annotations: Labels = [("chandler/registry", "onboard")].into_iter().collect();
        Encoded::new(id, labels, annotations, Bytes::from_static(body), TopologyHash(7))
    }

    fn check_envelope(any: &crate::proto::Any, of: &Encoded, version: &str) {
        assert_eq!(any.type_url, RESOURCE_TYPE_URL);
        check_resource(mcp::Resource::decode(any.value.clone()).unwrap(), of, version);
    }

    fn check_resource(got: mcp::Resource, of: &Encoded, version: &str) {
        let m = got.metadata.unwrap();
        assert_eq!(m.name, "chandler/web.example");
        assert_eq!(m.version, version);
        let created = m.create_time.unwrap();
        assert_eq!((created.seconds, created.nanos), (CREATE_TIME, 0));
        assert_eq!(m.labels.len(), 2);
        assert_eq!(m.annotations["chandler/registry"], "onboard");
        let body = got.body.unwrap();
        assert_eq!(body.type_url, "type.googleapis.com/istio.networking.v1alpha3.ServiceEntry");
        assert_eq!(body.value, of.body);
    }

    #[test]
    fn the_generated_types_read_every_flavour() {
        for body in [&b"some body"[..], &b""[..]] {
            let r = resource(body);
            for (flavour, version) in
                [(Flavour::Xds, r.version.to_string()), (Flavour::XdsUnversioned, String::new())]
            {
                let mut out = Vec::new();
                render(&r, flavour, &mut out);
                let got = discovery::DiscoveryResponse::decode(&out[..]).unwrap();
                check_envelope(&got.resources[0], &r, &version);
            }
            let mut out = Vec::new();
            render(&r, Flavour::Delta, &mut out);
            let got = discovery::DeltaDiscoveryResponse::decode(&out[..]).unwrap();
            assert_eq!(got.resources[0].name, "chandler/web.example");
            assert_eq!(got.resources[0].version, r.version.to_string());
            check_envelope(got.resources[0].resource.as_ref().unwrap(), &r, &r.version.to_string());
            let mut out = Vec::new();
            render(&r, Flavour::Legacy, &mut out);
            let got = mcp::Resources::decode(&out[..]).unwrap();
            check_resource(got.resources[0].clone(), &r, &r.version.to_string());
        }
    }

    #[test]
    fn what_is_stirred_is_younger_for_legacy_clients_alone() {
        let hash = u64::MAX;
        let r = resource(b"body").fit(Fitness::default().stirred(Stir::of(hash)));
        let mut out = Vec::new();
        render(&r, Flavour::Legacy, &mut out);
        let got = mcp::Resources::decode(&out[..]).unwrap();
        let created = got.resources[0].metadata.clone().unwrap().create_time.unwrap();
        let stirred = (created.seconds - CREATE_TIME) as u64 * 1_000_000_000 + created.nanos as u64;
        assert_eq!(stirred, Stir::of(hash).nanoseconds());
        assert!(created.seconds - CREATE_TIME < 14 * 24 * 3600 && created.nanos < 1_000_000_000);
        let mut out = Vec::new();
        render(&r, Flavour::Xds, &mut out);
        let got = discovery::DiscoveryResponse::decode(&out[..]).unwrap();
        check_envelope(&got.resources[0], &r, &r.version.to_string());
    }

    #[test]
    fn the_version_follows_every_part_of_the_content_and_nothing_else() {
        let base = resource(b"a");
        assert_eq!(base.version, resource(b"a").version);
        assert_ne!(base.version, resource(b"b").version);
        let mut other = base.clone();
        other.labels = Labels::EMPTY;
        let other = Encoded::new(other.id, other.labels, other.annotations, other.body, TopologyHash(7));
        assert_ne!(base.version, other.version);
    }
}
