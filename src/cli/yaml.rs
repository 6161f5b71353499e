//! Writes YAML that every reader understands the same way: readers of YAML 1.1 (kubectl) and of 1.2 alike.
//!
//! Only what JSON can say, block style, keys in order. A string stands bare only where no reader of either version
//! could take it for anything else; `no`, `1.10`, `0x1f`, `12:30`, `~` and the like are quoted.

use std::fmt::Write;

use serde_json::Value;

/// One document, without a leading `---`, ending in a line feed.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(map, 0, &mut out),
        Value::Array(list) if !list.is_empty() => sequence(list, 0, &mut out),
        other => {
            scalar(other, &mut out);
            out.push('\n');
        }
    }
    out
}

fn mapping(map: &serde_json::Map<String, Value>, depth: usize, out: &mut String) {
    for (i, (key, value)) in map.iter().enumerate() {
        // The first key stands where the caller has got to: behind a dash, or at the start of a line.
        if i > 0 {
            indent(depth, out);
        }
        string(key, out);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                indent(depth + 1, out);
                mapping(inner, depth + 1, out);
            }
            // As kubectl has it: the dashes stand under the key.
            Value::Array(list) if !list.is_empty() => {
                out.push('\n');
                indent(depth, out);
                sequence(list, depth, out);
            }
            other => {
                out.push(' ');
                scalar(other, out);
                out.push('\n');
            }
        }
    }
}

fn sequence(list: &[Value], depth: usize, out: &mut String) {
    for (i, value) in list.iter().enumerate() {
        if i > 0 {
            indent(depth, out);
        }
        out.push_str("- ");
        match value {
            Value::Object(inner) if !inner.is_empty() => mapping(inner, depth + 1, out),
            Value::Array(inner) if !inner.is_empty() => sequence(inner, depth + 1, out),
            other => {
                scalar(other, out);
                out.push('\n');
            }
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::String(s) => string(s, out),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        // `1e3` without a point is a string to readers of 1.1.
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Null => out.push_str("null"),
    }
}

fn string(s: &str, out: &mut String) {
    if is_plain(s) {
        out.push_str(s);
        return;
    }
    out.push('"');
    for c in s.chars() {
        escaped(c, out);
    }
    out.push('"');
}

fn escaped(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        ' '..='~' => out.push(c),
        c if c.is_alphanumeric() => out.push(c),
        // Writing to a string cannot fail.
        c => {
            let code = u32::from(c);
            let _ok =
                if code <= 0xffff { write!(out, "\\u{code:04X}") } else { write!(out, "\\U{code:08X}") };
        }
    }
}

/// Whether `s` is nothing but a string to every reader: a word of letters, or an IPv4 address.
fn is_plain(s: &str) -> bool {
    /// What readers of YAML 1.1 take for a boolean or for nothing.
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let first = s.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let rest = s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    let word = first && rest && !WORDS.iter().any(|w| w.eq_ignore_ascii_case(s));
    word || s.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[ -~]{0,12}",
            "\\PC{0,6}",
            any::<String>(),
            prop::sample::select(vec![
                "yes",
                "No",
                "~",
                "1.10",
                "0x1f",
                "017",
                "1_000",
                "12:30",
                "1e3",
                ".inf",
                "-",
                "- a",
                "a: b",
                "#c",
                "",
                " x ",
                "a\nb",
                "10.0.0.5",
                "null",
                "2001-01-01",
                "<<",
                "=",
                "*",
                "&a",
                "!t",
                "%",
                "@",
                "`",
                "|",
            ])
            .prop_map(String::from),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_it_was(value in values()) {
            let text = document(&value);
            let back: Value = serde_saphyr::from_str(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(back, value, "{}", text);
        }
    }

    #[test]
    fn an_object_looks_as_kubectl_writes_it() {
        let value = json!({
            "kind": "ServiceEntry",
            "spec": {"addresses": ["10.0.0.1"], "empty": {}, "none": [], "ports": [{"name": "http", "number": 80}, {"on": "no"}]},
        });
        let want = "kind: ServiceEntry\nspec:\n  addresses:\n  - 10.0.0.1\n  empty: {}\n  none: []\n  ports:\n  \
                    - name: http\n    number: 80\n  - \"on\": \"no\"\n";
        assert_eq!(document(&value), want);
    }

    #[test]
    fn nothing_that_a_reader_could_mistake_stands_bare() {
        for s in [
            "no", "Y", "1.10", "017", "12:30:45", "1_000", "", "null", "a b", "a:", "-x", "e1,2", "\u{7f}",
            "\u{2028}",
        ] {
            let mut out = String::new();
            string(s, &mut out);
            assert!(out.starts_with('"') && out.is_ascii() && !out.contains('\u{7f}'), "{out}");
        }
        for s in ["web", "a-b.c/d_e", "10.0.0.5", "v1"] {
            assert!(is_plain(s), "{s}");
        }
    }
}
