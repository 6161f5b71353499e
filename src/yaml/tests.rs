use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::excerpt::{Excerpt, Style};
use super::fields::{Fields, Findings};
use super::*;

const MAX: usize = 1 << 20;

fn one(text: &str) -> Node {
    parse(text, MAX).complete().unwrap().pop().unwrap()
}

fn faults(text: &str) -> Vec<String> {
    parse(text, MAX).faults.iter().map(ToString::to_string).collect()
}

#[test]
fn every_document_of_a_stream_is_a_tree_with_places() {
    let docs = parse("a: 1\n---\nb:\n  - c\n  - {d: e}\n", MAX).complete().unwrap();
    assert_eq!(docs.len(), 2);
    let list = docs[1].map().unwrap().get("b").unwrap();
    let d = list.list().unwrap()[1].map().unwrap().entry("d").unwrap();
    assert_eq!(d.at, Position { line: 5, column: 6, width: 1 });
    assert_eq!(d.value.at, Position { line: 5, column: 9, width: 1 });
}

#[test]
fn json_is_read_as_well() {
    let node = one("{\"a\": [1, true, null, \"x\\n\"]}");
    let list = node.map().unwrap().get("a").unwrap().list().unwrap();
    assert_eq!(list[0].integer(0, 9).unwrap(), 1);
    assert!(list[1].boolean().unwrap());
    assert!(list[2].is_null());
    assert_eq!(list[3].text().unwrap(), "x\n");
}

#[test]
fn texts_without_content_have_no_document() {
    for empty in ["", "\n\n", "# nothing\n", "\u{feff}"] {
        assert!(parse(empty, MAX).complete().unwrap().is_empty(), "{empty:?}");
    }
    assert!(parse("---\n", MAX).complete().unwrap()[0].is_null());
}

#[test]
fn scalars_stay_as_written_until_somebody_asks() {
    let node =
        one("[1.10, 017, y, yes, 1_000, 0x1f, 0o17, -5, +5, .inf, 12345678901234567890123, '5', !!str 5]");
    let texts: Vec<&str> = node.list().unwrap().iter().map(|n| n.text().unwrap()).collect();
    assert_eq!(
        texts,
        [
            "1.10",
            "017",
            "y",
            "yes",
            "1_000",
            "0x1f",
            "0o17",
            "-5",
            "+5",
            ".inf",
            "12345678901234567890123",
            "5",
            "5"
        ]
    );
    let numbers: Vec<Option<i64>> = node.list().unwrap().iter().map(|n| n.integer(-100, 100).ok()).collect();
    let expected =
        [None, None, None, None, None, Some(31), Some(15), Some(-5), Some(5), None, None, None, None];
    assert_eq!(numbers, expected);
    assert!(node.list().unwrap().iter().all(|n| n.boolean().is_err()));
}

#[test]
fn untyped_readers_get_what_yaml_1_2_says() {
    let node = one(
        "{a: 1.10, b: 017, c: y, d: true, e: ~, f: 1_000, g: .inf, h: 1e3, i: -1, j: '1', k: 12345678901234567890123, l: 1.2.3, m: e, n: 08.5, o: +}",
    );
    let json = serde_json::Value::deserialize(&node).unwrap();
    let expected = serde_json::json!({
        "a": 1.10, "b": "017", "c": "y", "d": true, "e": null, "f": "1_000", "g": ".inf", "h": 1000.0, "i": -1,
        "j": "1", "k": 1.234_567_890_123_456_8e22, "l": "1.2.3", "m": "e", "n": "08.5", "o": "+",
    });
    assert_eq!(json, expected);
}

#[test]
fn typed_readers_of_text_get_it_as_written() {
    let labels: BTreeMap<String, String> =
        Deserialize::deserialize(&one("{version: 1.10, n: y, t: true}")).unwrap();
    assert_eq!(labels["version"], "1.10");
    assert_eq!(labels["t"], "true");
}

#[test]
fn errors_of_typed_readers_carry_the_innermost_place() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Port {
        number: u16,
        name: Option<String>,
    }
    let wrong = |text: &str| Vec::<Port>::deserialize(&one(text)).unwrap_err().at;
    assert_eq!(wrong("- {number: 1}\n- {number: x}\n"), Position { line: 2, column: 12, width: 1 });
    assert_eq!(wrong("- number: 1\n- number: 2\n  nmae: x\n"), Position { line: 3, column: 3, width: 4 });
    assert_eq!(wrong("- number: 1\n- name: y\n").line, 2);
    assert_eq!(wrong("- number: 70000\n"), Position { line: 1, column: 11, width: 5 });
}

#[test]
fn protobuf_reads_a_subtree() {
    let pool = prost_reflect::DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap();
    let kind = pool.get_message_by_name("istio.networking.v1alpha3.ServiceEntry").unwrap();
    let read = |text: &str| prost_reflect::DynamicMessage::deserialize(kind.clone(), &one(text));
    let message =
        read("hosts: [a.example]\nports:\n- {number: 80, name: 1.10, protocol: HTTP}\nresolution: STATIC\nendpoints:\n- address: 10.0.0.1\n  labels: {v: 1.10}\n")
            .unwrap();
    assert!(format!("{message:?}").contains("\"1.10\""));
    let fault = read("hosts: [a.example]\nports:\n- number: 80\n  nme: x\n").unwrap_err();
    assert_eq!((fault.at.line, fault.at.column), (4, 3), "{fault}");
    let fault = read("hosts: a.example\n").unwrap_err();
    assert_eq!((fault.at.line, fault.at.column), (1, 8), "{fault}");
}

#[test]
fn a_repeated_key_is_refused_with_both_places() {
    assert_eq!(
        faults("a: 1\nb: 2\na: 3\n"),
        ["3:1: `a` stands here twice, first in line 1: keep one of them"]
    );
    assert_eq!(faults("x: {k: 1, 'k': 2, k: 3}\n").len(), 2);
}

#[test]
fn aliases_stand_for_what_they_name() {
    let node = one("base: &b {x: 1, y: 2}\ncopy: *b\nmerged: {<<: *b, y: 3}\n");
    let map = node.map().unwrap();
    assert_eq!(map.get("copy"), map.get("base"));
    let merged = map.get("merged").unwrap().map().unwrap();
    assert_eq!(merged.get("x").unwrap().text().unwrap(), "1");
    assert_eq!(merged.get("y").unwrap().text().unwrap(), "3");
    assert_eq!(faults("a: *nobody\n"), ["1:4: no anchor (`&name`) of this name stands before this alias"]);
    assert_eq!(faults("a: &a [*a]\n"), ["1:8: this alias stands inside of what it stands for"]);
    assert_eq!(faults("a: 1\n<<: 5\n"), ["2:5: `<<` merges maps: write `<<: *name` of an anchored map"]);
}

#[test]
fn aliases_cannot_exhaust_memory() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for i in 1..10 {
        let list = vec![format!("*a{}", i - 1); 9].join(", ");
        laughs.push_str(&format!("a{i}: &a{i} [{list}]\n"));
    }
    assert!(faults(&laughs)[0].contains("expand to too much"));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 1000].join(","));
    assert!(faults(&long)[0].contains("expand to too much"));
}

#[test]
fn what_cannot_be_read_is_said_in_words() {
    for (text, words) in [
        (
            "a:\n\t- b\n",
            "2:2: not valid YAML: a tab stands where YAML allows spaces only: indent with spaces",
        ),
        ("a: 1\n\tb: 2\n", "a tab stands"),
        ("a: [1, 2\n", "1:4: this `[` is never closed"),
        (
            "a: [{service}.x]\n",
            "1:14: not valid YAML: expected a comma or the closing bracket; a text with brackets or",
        ),
        ("a: }\n", "this bracket closes nothing that is open"),
        ("a: !custom 5\n", "the tag `!custom` means nothing here: write the value without it"),
        ("? [a]\n: b\n", "1:3: expected a key, found a list"),
        ("a: 1\nb\n", "not valid YAML: expected `key: value`; is a colon, or a space after it, missing?"),
        ("a: 1\n  b: 2\n", "2:4: not valid YAML: no `key: value` can stand here; is the indentation right?"),
        ("a: b: c\n", "A text with `: ` in it needs quotes"),
        ("- a: 1\n   b: 1\n", "is the indentation right?"),
        ("- a\nb: 1\n", "a list and something else share an indentation"),
        ("a: 'x\nb: 1\n", "a quoted text is not closed before this place"),
        ("a: 'x' y\n", "a quoted text ends before this place"),
        ("a: \"\\q\"\n", "no escape that YAML knows: write the backslash twice"),
        ("a: @x\n", "1:4: not valid YAML: a text cannot begin with this character: put it in quotes"),
    ] {
        let found = faults(text);
        assert!(found.len() == 1 && found[0].contains(words), "{text:?}: {found:?}");
    }
}

#[test]
fn what_breaks_off_is_no_document() {
    let parsed = parse("a: 1\n---\nserver\n  x: 1\n", MAX);
    assert_eq!((parsed.documents.len(), parsed.faults.len()), (1, 1), "{parsed:?}");
}

#[test]
fn depth_and_size_are_bounded() {
    assert!(parse(&"[".repeat(100_000), MAX).faults[0].message.contains("deeper than 64"));
    let nested: String = (0..100).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert!(parse(&nested, MAX).faults[0].message.contains("deeper than 64"));
    let mixed = "[{a: ".repeat(40) + "1" + &"}]".repeat(40);
    assert!(parse(&mixed, MAX).faults[0].message.contains("deeper than 64"));
    let fault = &parse("aaaa", 3).faults[0];
    assert_eq!((fault.at, fault.to_string().as_str()), (Position::NOWHERE, fault.message.as_str()));
}

#[test]
fn bytes_that_are_no_text_are_placed() {
    let fault = text(b"a: 1\nb: \xc3\xa4\xff\n").unwrap_err();
    assert_eq!((fault.at.line, fault.at.column), (2, 5));
}

#[test]
fn fields_find_everything_at_once() {
    let node = one("adress: x\nport: big\nlist: [1, a, 3, b]\ntls: {}\nflag: yes\n");
    let findings = Findings::default();
    let mut fields = Fields::of(&node, &findings);
    fields.later(&["tls"]);
    assert_eq!(fields.need("address", Node::text), None);
    assert_eq!(fields.or("port", 7, |n| n.integer(1, 65535)), 7);
    assert_eq!(fields.list("list", |n| n.integer(0, 9)), Some(vec![1, 3]));
    assert_eq!(fields.get("flag", Node::boolean), None);
    assert_eq!(fields.section("absent").need("x", Node::text), None);
    drop(fields);
    let found: Vec<String> = findings.into_faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "1:1: `address` is missing",
            "1:1: unknown key `adress`: did you mean `address`?",
            "2:7: expected a whole number from 1 to 65535, found the text \"big\"",
            "3:11: expected a whole number from 0 to 9, found the text \"a\"",
            "3:17: expected a whole number from 0 to 9, found the text \"b\"",
            "4:1: `tls` is not available in this version",
            "5:7: expected true or false, found the text \"yes\"",
        ]
    );
}

#[test]
fn choices_and_keys_guess_what_was_meant() {
    assert_eq!(
        one("virtal").choice(&[("virtual", 1), ("none", 2)]).unwrap_err().message,
        "expected `virtual` or `none`, found the text \"virtal\": did you mean `virtual`?"
    );
    assert_eq!(words::nearest("listner", &["listeners", "limits"]), Some("listeners"));
    assert_eq!(words::nearest("adress", &["access", "address"]), Some("address"));
    assert_eq!(words::nearest("nmae", &["map", "name"]), Some("name"));
    assert_eq!(words::nearest("zzz", &["map", "name"]), None);
    let findings = Findings::default();
    let node = one("zzzzz: 1\n");
    let mut fields = Fields::of(&node, &findings);
    fields.take("map");
    fields.take("name");
    drop(fields);
    assert_eq!(findings.into_faults()[0].message, "unknown key `zzzzz`: known here: `map` or `name`");
}

#[test]
fn an_excerpt_marks_the_place() {
    let text = "server:\r\n  listner: 5\r\n";
    let fault = Fault::new(Position { line: 2, column: 3, width: 7 }, "no");
    let excerpt = Excerpt { file: "f.yaml", text, fault: &fault, style: Style::Plain };
    assert_eq!(excerpt.to_string(), "f.yaml:2:3: no\n  2 |   listner: 5\n    |   ^^^^^^^");
    let coloured = Excerpt { style: Style::Colour, ..excerpt }.to_string();
    assert!(coloured.contains("\u{1b}[1;31m^^^^^^^\u{1b}[0m"), "{coloured:?}");
}

#[test]
fn an_excerpt_is_short_and_harmless() {
    let text = format!("{}\u{1b}[31mEVIL{}", "x".repeat(500), "y".repeat(500));
    let fault = Fault::new(Position { line: 1, column: 502, width: 400 }, "no");
    let shown = Excerpt { file: "f", text: &text, fault: &fault, style: Style::Plain }.to_string();
    assert!(shown.lines().all(|l| l.chars().count() < 120) && !shown.contains('\u{1b}'), "{shown:?}");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[1].find("[31m"), lines[2].find('^'));
}

#[test]
fn what_a_message_quotes_cannot_disturb_a_terminal() {
    let fault = Fault::new(Position::NOWHERE, "`\u{1b}[2J\n\u{202e}é`");
    assert_eq!(fault.message, "`\\u{1b}[2J\\u{a}\\u{202e}é`");
    assert!(
        parse("\"\\e[2J\": 1\n\"\\e[2J\": 1\n", MAX).faults[0].message.starts_with("`\\u{1b}[2J` stands")
    );
}

/// What YAML is made of, so that random texts get past the first token.
fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "b: ",
        "- ",
        "\n",
        "  ",
        "\t",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ": ",
        "? ",
        "&x ",
        "*x",
        "!t ",
        "!!str ",
        "'",
        "\"",
        "|\n",
        ">-\n",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "# c\n",
        "<<: ",
        "~",
        "1.5",
        "0x",
        "\r",
        "\u{feff}",
        "\u{0}",
        "é",
        "\\",
        "%",
        "@",
        "`",
        "key: value\n",
    ]);
    prop::collection::vec(pieces, 0..60).prop_map(|p| p.concat())
}

fn visit(node: &Node) {
    let _ = (node.text(), node.boolean(), node.integer(0u8, 9), node.describe());
    let _ = serde_json::Value::deserialize(node);
    for child in node.list().unwrap_or_default() {
        visit(child);
    }
    for entry in node.map().map(Map::entries).unwrap_or_default() {
        visit(&entry.value);
    }
}

fn survives(text: &str) {
    let parsed = parse(text, 10_000);
    parsed.documents.iter().for_each(visit);
    for fault in &parsed.faults {
        let _ = Excerpt { file: "f", text, fault, style: Style::Colour }.to_string();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_or_hangs(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn no_mixture_of_tokens_panics_or_hangs(text in soup()) {
        survives(&text);
    }

    #[test]
    fn json_reads_back_as_it_was(map in prop::collection::btree_map("[a-z]{1,8}", any::<Option<i64>>(), 0..8), s in any::<String>()) {
        let value = serde_json::json!({"map": map, "s": s, "l": [true, 1.5]});
        let text = value.to_string();
        let node = parse(&text, MAX).complete().unwrap().pop().unwrap();
        prop_assert_eq!(serde_json::Value::deserialize(&node).unwrap(), value);
    }
}
