//! Our definitions in `proto/` are wire-compatible with Istio's: held to the table of its fields, where that is at hand.

use std::collections::BTreeMap;
use std::path::Path;

use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

/// Whole messages: nothing that a user may write in them is lost. Of others we define what we use.
const COMPLETE: [&str; 8] = [
    "istio.networking.v1alpha3.ServiceEntry",
    "istio.networking.v1alpha3.ServicePort",
    "istio.networking.v1alpha3.WorkloadEntry",
    "istio.mcp.v1alpha1.Resource",
    "istio.mcp.v1alpha1.Metadata",
    "istio.mcp.v1alpha1.SinkNode",
    "istio.mcp.v1alpha1.RequestResources",
    "istio.mcp.v1alpha1.Resources",
];

/// The legacy protocol, which Istio's API lost in 1.23 and the table does not have: as it was from 1.1 to 1.22.
const LEGACY: &str = "
message istio.mcp.v1alpha1.SinkNode
    1 string id
    2 map<string, string> annotations
message istio.mcp.v1alpha1.RequestResources
    1 istio.mcp.v1alpha1.SinkNode sink_node
    2 string collection
    3 map<string, string> initial_resource_versions
    4 string response_nonce
    5 google.rpc.Status error_detail
    6 bool incremental
message istio.mcp.v1alpha1.Resources
    1 string system_version_info
    2 string collection
    3 repeated istio.mcp.v1alpha1.Resource resources
    4 repeated string removed_resources
    5 string nonce
    6 bool incremental
";

/// A message as the table has it: by number, `type name`, as `repeated string hosts`.
type Fields = BTreeMap<u32, String>;

#[derive(Default)]
struct Table {
    messages: BTreeMap<String, Fields>,
    enums: BTreeMap<String, BTreeMap<i32, String>>,
}

fn read(text: &str) -> Table {
    let mut table = Table::default();
    let mut message = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["message", name, ..] => {
                table.messages.entry((*name).into()).or_default();
                message = Some((*name).to_string());
            }
            ["enum", name, ..] => {
                let values = line.split_once(name).map_or("", |(_, values)| values);
                table.enums.insert((*name).into(), values.split(',').filter_map(value).collect());
            }
            [number, rest @ ..] => {
                let (Ok(number), Some(message)) = (number.parse(), &message) else { continue };
                let field = declaration(rest);
                table.messages.entry(message.clone()).or_default().insert(number, field);
            }
            [] => message = None,
        }
    }
    table
}

/// `STATIC=1`.
fn value(text: &str) -> Option<(i32, String)> {
    let (name, number) = text.trim().split_once('=')?;
    Some((number.split_whitespace().next()?.parse().ok()?, name.into()))
}

/// Type and name, without what follows (`oneof`, `deprecated`, `json`).
fn declaration(words: &[&str]) -> String {
    let of_type = match words.first() {
        Some(&"repeated" | &"optional") | Some(&"map<string,") => 2,
        _ => 1,
    };
    words.iter().take(of_type + 1).copied().collect::<Vec<_>>().join(" ")
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(m) => m.full_name().into(),
        Kind::Enum(e) => e.full_name().into(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn ours(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (k, v) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            format!("map<{}, {}>", self::kind(&k), self::kind(&v))
        }
        of if field.cardinality() == Cardinality::Repeated => format!("repeated {}", self::kind(&of)),
        of => self::kind(&of),
    };
    format!("{kind} {}", field.name())
}

fn message_faults(ours_of: &MessageDescriptor, table: &Table) -> Vec<String> {
    let name = ours_of.full_name();
    let Some(theirs) = table.messages.get(name) else { return vec![format!("Istio has no message {name}")] };
    let mine: Fields = ours_of.fields().map(|f| (f.number(), ours(&f))).collect();
    let mut out = Vec::new();
    for (number, field) in &mine {
        if theirs.get(number) != Some(field) {
            out.push(format!("{name} field {number}: ours `{field}`, Istio's {:?}", theirs.get(number)));
        }
    }
    if COMPLETE.contains(&name) {
        let missing = theirs.iter().filter(|(number, _)| !mine.contains_key(number));
        out.extend(missing.map(|(number, field)| format!("{name} lacks field {number}: `{field}`")));
    }
    out
}

fn enum_faults(ours: &EnumDescriptor, table: &Table) -> Vec<String> {
    let name = ours.full_name();
    let Some(theirs) = table.enums.get(name) else { return vec![format!("Istio has no enum {name}")] };
    let mine: BTreeMap<i32, String> = ours.values().map(|v| (v.number(), v.name().into())).collect();
    // A value that we do not know would be refused in what users write.
    if &mine == theirs { Vec::new() } else { vec![format!("enum {name}: ours {mine:?}, Istio's {theirs:?}")] }
}

fn faults(table: &Table) -> Vec<String> {
    let Ok(pool) = DescriptorPool::decode(chandler::proto::DESCRIPTORS) else {
        return vec!["the embedded descriptors cannot be read".into()];
    };
    let mut out = Vec::new();
    for m in pool.all_messages().filter(|m| m.full_name().starts_with("istio.") && !m.is_map_entry()) {
        out.extend(message_faults(&m, table));
    }
    for e in pool.all_enums().filter(|e| e.full_name().starts_with("istio.")) {
        out.extend(enum_faults(&e, table));
    }
    for name in COMPLETE {
        if pool.get_message_by_name(name).is_none() {
            out.push(format!("we do not define {name}"));
        }
    }
    out
}

#[test]
fn what_we_define_of_istio_is_what_istio_defines() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/facts/istio-api-fields.txt");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("left out: the table of Istio's fields is not at hand");
        return;
    };
    let table = read(&(text + LEGACY));
    assert!(table.messages.len() > 50 && table.enums.len() > 10, "the table was understood");
    assert_eq!(faults(&table), Vec::<String>::new());
}

#[test]
fn a_difference_is_found() {
    let text = "
message istio.mcp.v1alpha1.Resource
    1 istio.mcp.v1alpha1.Metadata metadata
    2 google.protobuf.Any payload
    3 string more  deprecated
message istio.mcp.v1alpha1.Metadata
    1 string name
    2 google.protobuf.Timestamp create_time
    3 string version
    4 map<string, string> labels
    5 map<string, int32> annotations
enum istio.networking.v1alpha3.ServiceEntry.Location  MESH_EXTERNAL=0, MESH_INTERNAL=2
";
    let found = faults(&read(text)).join("\n");
    for part in
        ["Resource field 2: ours", "lacks field 3: `string more`", "annotations", "enum istio.networking"]
    {
        assert!(found.contains(part), "{part} in\n{found}");
    }
    assert!(!found.contains("labels"), "{found}");
}
