//! What needs to see how the decoder asks; everything else is in `tests/config.rs`.

use super::*;

const REFERENCE: &str = include_str!("../../config/reference.yaml");

/// The reference with its examples as part of it: a line that begins with `#` and no space is one.
fn with_examples() -> String {
    REFERENCE
        .lines()
        .map(|line| {
            let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
            match rest.strip_prefix('#').filter(|r| !r.is_empty() && !r.starts_with(' ')) {
                Some(example) => format!("{indent}{example}\n"),
                // A comment within an example.
                None => match rest.strip_prefix("#  ") {
                    Some(example) => format!("{indent}  {example}\n"),
                    None => format!("{line}\n"),
                },
            }
        })
        .collect()
}

#[test]
fn the_reference_mentions_every_key() {
    let text = with_examples();
    let findings = Findings::noting_unset();
    let config = Config::read(&text, Path::new(""), &findings);
    let unset = findings.unset();
    let faults: Vec<String> = findings.into_faults().iter().map(ToString::to_string).collect();
    assert!(config.is_some() && faults.is_empty(), "{faults:?}\n{text}");
    for path in unset {
        let key = path.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("{key}:")), "config/reference.yaml does not mention {path}");
    }
}

#[test]
fn every_key_of_the_decoder_is_asked_for() {
    // Guards the test above: a decoder that asks for nothing would pass it.
    let findings = Findings::noting_unset();
    let config = Config::read("registries: [{name: a, files: {path: b}}]", Path::new(""), &findings);
    assert!(config.is_some());
    let unset = findings.unset();
    for path in [
        "server.listeners",
        "server.limits.messageSize",
        "registries[].map.labels.include",
        "push.topologyMax",
    ] {
        assert!(unset.iter().any(|u| u == path), "{path} is not in {unset:?}");
    }
}

#[test]
fn every_sample_service_is_compiled_in() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/config/services");
    let mut on_disk: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|e| format!("services/{}", e.unwrap().file_name().into_string().unwrap()))
        .collect();
    on_disk.sort();
    let compiled: Vec<&str> = QUICKSTART_SERVICES.iter().map(|(name, _)| *name).collect();
    assert_eq!(on_disk, compiled);
}
