//! Imports point down: the table in `src/lib.rs`, held by reading the source.
//!
//! Test modules (from `#[cfg(test)] mod` to the end of the file) may use anything.

use std::fs;
use std::path::{Path, PathBuf};

/// Who lies how deep. A module imports from its own layer and below; siblings in L3 never import each other.
const LAYERS: [(&str, u8); 19] = [
    ("model", 0),
    ("resource", 0),
    ("proto", 0),
    ("yaml", 0),
    ("convert", 1),
    ("session", 1),
    ("pipeline", 1),
    ("store", 1),
    ("runtime", 2),
    ("telemetry", 2),
    ("security", 2),
    ("limit", 2),
    ("registry", WORLD),
    ("delivery", WORLD),
    ("sink", WORLD),
    ("admin", WORLD),
    ("config", 4),
    ("app", 5),
    // Compiled for the fuzzer and for tests only.
    ("fuzz", 5),
];
const WORLD: u8 = 3;
/// `cli`, `main` and `lib` lie above everything.
const TOP: u8 = 6;
/// Their submodules are concrete: only `app` and their own parent name them.
const CONCRETE: [&str; 3] = ["registry", "delivery", "sink"];
/// Tools that the concrete ones share: settings may name them too.
const SHARED: [(&str, &str); 2] = [("registry", "http"), ("registry", "again")];
/// What L0 and L1 do not name, being pure.
const IMPURE: [&str; 9] = [
    "tokio::",
    "tonic::",
    "hyper::",
    "axum::",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "Instant::now",
    "SystemTime::now",
];
/// What some of them name nevertheless: the pipeline and the store their channels …
const CHANNELS: [&str; 2] = ["pipeline", "store"];
/// … and the one task that owns the catalog its clock and its turns.
const TASK: (&[&str], &[&str]) =
    (&["pipeline"], &["tokio::time", "tokio::select!", "tokio::task::yield_now", "Instant::now"]);
/// The state on disk: its files, and the clocks that tell how old they are.
const DISK: (&[&str], &[&str]) = (&["store", "disk"], &["tokio::time", "Instant::now", "SystemTime::now"]);

/// Everything that `text`, the file of `module` (`registry::files`), breaks.
fn faults(module: &[&str], text: &str) -> Vec<String> {
    let code = code(text);
    let me = module.first().copied().unwrap_or_default();
    let mut out = Vec::new();
    for path in paths(module, &code) {
        let Some(target) = path.first() else { continue };
        if layer(target) > layer(me) {
            out.push(format!("{me} imports {target}, which lies above it"));
        }
        if me == "yaml" && target != "yaml" {
            out.push(format!("yaml is a leaf and imports {target}"));
        }
        if me != target && layer(me) == WORLD && layer(target) == WORLD {
            out.push(format!("{me} imports its sibling {target}"));
        }
        if names_concrete(module, &path) {
            out.push(format!("only app names {}", path.join("::")));
        }
    }
    if layer(me) <= 1 {
        out.extend(impure(module, &code));
    }
    if me != "proto" && (code.contains("OUT_DIR") || code.contains("include_proto!")) {
        out.push("only proto includes generated code".into());
    }
    out
}

fn layer(module: &str) -> u8 {
    LAYERS.iter().find(|(name, _)| *name == module).map_or(TOP, |(_, layer)| *layer)
}

fn names_concrete(module: &[&str], path: &[String]) -> bool {
    let [parent, child, ..] = path else { return false };
    // A child in lower case is a module; `registry::Factory` is the seam.
    let concrete = CONCRETE.contains(&parent.as_str()) && child.starts_with(|c: char| c.is_lowercase());
    let own = module.first() == Some(&parent.as_str())
        && (parent != "registry" || module.len() == 1 || module.get(1) == Some(&child.as_str()));
    // A door for the fuzzer leads into a part by its own name.
    let door = module.first() == Some(&"fuzz") && path.iter().any(|p| p == "fuzz");
    let shared = SHARED.contains(&(parent.as_str(), child.as_str()))
        && module.first().is_some_and(|me| me == parent || *me == "config");
    concrete && !own && !door && !shared && module.first() != Some(&"app")
}

fn impure(module: &[&str], code: &str) -> Vec<String> {
    let me = module.first().copied().unwrap_or_default();
    let mut allowed = if CHANNELS.contains(&me) { vec!["tokio::sync"] } else { Vec::new() };
    if module == TASK.0 {
        allowed.extend(TASK.1);
    }
    let disk = module.starts_with(DISK.0);
    if disk {
        allowed.extend(DISK.1);
    }
    let mut out = Vec::new();
    let std = below("std::", &[], code);
    if !disk && std.iter().any(|path| path.first().is_some_and(|p| p == "fs")) {
        out.push(format!("{me} is pure and names `std::fs`"));
    }
    for word in IMPURE {
        for (at, _) in code.match_indices(word) {
            if whole(code, at) && !allowed.iter().any(|a| code[at..].starts_with(a)) {
                out.push(format!("{me} is pure and names `{}`", code[at..].lines().next().unwrap_or(word)));
            }
        }
    }
    out
}

/// `text` without comments and without its test module.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let test = line.trim() == "#[cfg(test)]";
        if test && lines.peek().is_some_and(|next| next.trim_start().starts_with("mod ")) {
            break;
        }
        if !line.trim_start().starts_with("//") {
            out.push_str(line.split(" // ").next().unwrap_or(line));
            out.push('\n');
        }
    }
    out
}

/// Every path of this crate that `code` names, without the leading `crate`.
fn paths(module: &[&str], code: &str) -> Vec<Vec<String>> {
    let parent = module.split_last().map_or(module, |(_, parent)| parent);
    let mut out = below("crate::", &[], code);
    out.extend(below("super::", parent, code));
    out
}

/// Every path of `code` that begins with `root`, with `prefix` in place of it.
fn below(root: &str, prefix: &[&str], code: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    for (at, _) in code.match_indices(root).filter(|(at, _)| whole(code, *at)) {
        expand(&code[at + root.len()..], prefix.iter().map(|s| (*s).into()).collect(), &mut out);
    }
    out
}

/// Whether a word begins at `at`: neither the end of a longer name nor a later part of a path.
fn whole(code: &str, at: usize) -> bool {
    let within = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
    let later = code[at..].starts_with("super") && code[..at].ends_with("super::");
    !within && !later
}

/// Reads the use tree at the start of `tree`, below `prefix`; returns what follows it.
fn expand<'a>(tree: &'a str, prefix: Vec<String>, out: &mut Vec<Vec<String>>) -> &'a str {
    let tree = tree.trim_start();
    if let Some(mut rest) = tree.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let next = expand(rest, prefix.clone(), out).trim_start();
            // `a as b`: the new name is of no interest.
            let end = next.find([',', '}']).unwrap_or(next.len());
            rest = next[end..].strip_prefix(',').unwrap_or(&next[end..]);
            if rest.is_empty() {
                return rest;
            }
        }
    }
    let end = tree.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    let mut path = prefix;
    if name == "super" {
        path.pop();
    } else if !name.is_empty() && name != "self" {
        path.push(name.to_string());
    }
    match rest.strip_prefix("::") {
        Some(below) => expand(below, path, out),
        None => {
            out.push(path);
            rest
        }
    }
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            out.push(path);
        }
    }
    out.sort();
    Ok(())
}

#[test]
fn every_import_points_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files).unwrap();
    assert!(files.len() > 20, "the checker reads src/");
    let mut all = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap().with_extension("");
        let module: Vec<&str> = relative.iter().map(|part| part.to_str().unwrap()).collect();
        let text = fs::read_to_string(&file).unwrap();
        all.extend(faults(&module, &text).into_iter().map(|f| format!("src/{}.rs: {f}", module.join("/"))));
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn every_module_of_the_crate_has_its_layer() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for name in lib.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(name == "cli" || layer(name) < TOP, "{name} has no row in LAYERS");
    }
}

#[test]
fn a_violation_is_found() {
    for (module, text) in [
        (&["model", "host"][..], "use crate::pipeline::intake::Changes;"),
        (&["pipeline"], "use crate::{\n    model::host::Host,\n    admin::{self, health},\n};"),
        (&["registry", "files"], "use crate::admin::api as x;"),
        (&["registry", "files"], "use super::consul::Client;"),
        (&["registry", "files", "watch"], "use super::super::consul;"),
        (&["registry", "http"], "use crate::registry::consul::Client;"),
        (&["cli"], "use crate::registry::http::Http;"),
        (&["delivery", "server"], "fn f() { crate::registry::hello() }"),
        (&["cli", "serve"], "use crate::registry::files::Files;"),
        (&["config"], "use crate::{delivery::{ads_sotw::Sotw}, model::host};"),
        (&["session"], "use tokio::net;"),
        (&["session"], "use tokio::sync::mpsc;"),
        (&["store"], "use tokio::time::sleep;"),
        (&["pipeline", "guard"], "use tokio::time::Instant;"),
        (&["pipeline", "guard"], "fn f() { Instant::now(); }"),
        (&["convert", "vip"], "fn f() { let t = std::time::SystemTime::now(); }"),
        (&["resource"], "use std::fs;"),
        (&["resource"], "use std::{path::Path, fs::File};"),
        (&["yaml"], "use crate::model::host::Host;"),
        (&["yaml"], "use tonic::Status;"),
        (&["app"], "use crate::cli::Cli;"),
        (&["session"], "include!(concat!(env!(\"OUT_DIR\"), \"/protos.rs\"));"),
    ] {
        assert!(!faults(module, text).is_empty(), "{module:?}: {text}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (module, text) in [
        (
            &["pipeline"][..],
            "use crate::{convert::{self, vip}, model::host as h, store::Store};\nuse tokio::sync::mpsc;",
        ),
        (&["pipeline"], "fn f() { tokio::select! {} }"),
        (&["app"], "use crate::registry::files::Files;\nuse crate::delivery::ads_sotw;"),
        (&["app", "bind"], "use crate::registry::{Factory, files};"),
        (&["registry"], "pub mod files;\nuse crate::registry::files::Files;"),
        (&["registry", "files", "watch"], "use super::decode::Document;\nuse crate::registry::files::read;"),
        (&["registry", "files"], "use super::Factory;\nuse tokio::net::TcpStream;"),
        (&["registry", "consul", "client"], "use crate::registry::http::Http;"),
        (&["config", "registries", "consul"], "use crate::registry::http::settings::Settings;"),
        (&["delivery", "server"], "use crate::delivery::ads_sotw;"),
        (&["cli", "get"], "use crate::app;\nuse crate::config::Config;"),
        (&["model"], "/// See [`crate::app::run`].\n//! and tokio::net"),
        (&["model"], "#[cfg(test)]\nmod tests {\n    use tokio::net;\n    use crate::app;\n}"),
    ] {
        assert_eq!(faults(module, text), Vec::<String>::new(), "{module:?}: {text}");
    }
}
