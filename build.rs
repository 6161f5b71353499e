//! Compiles `proto/` with protox (no protoc on the machine) and embeds the revision. Nothing else.

use std::path::PathBuf;
use std::process::Command;

use prost::Message;

/// Everything else is reached through imports.
const ROOTS: [&str; 2] = ["envoy/service/discovery/v3/ads.proto", "istio/mcp/v1alpha1/mcp.proto"];
/// Our own, for our own files.
const STATE: &str = "chandler/state/v1/state.proto";
/// Not imported by any root.
const KINDS: [&str; 1] = ["istio/networking/v1alpha3/service_entry.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files = protox::compile(ROOTS.iter().chain(&KINDS), ["proto"])?;
    for file in &mut files.file {
        // Comments and positions would make the embedded set nine times larger.
        file.source_code_info = None;
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        // Maps in order: same content, same bytes, same version.
        .btree_map(".")
        // Our own Any, so that a body can be shared bytes instead of a copy.
        .compile_well_known_types(true)
        .bytes(".google.protobuf.Any")
        .extern_path(".google.protobuf.Struct", "::prost_types::Struct")
        .extern_path(".google.protobuf.Timestamp", "::prost_types::Timestamp")
        .disable_comments(["."])
        .include_file("protos.rs")
        .compile_fds(files)?;
    // The state on disk is nobody's wire: it stands in no descriptor that is served.
    tonic_prost_build::configure()
        .bytes(".chandler.state.v1.Kept.body")
        .bytes(".chandler.state.v1.Object.body")
        .disable_comments(["."])
        .include_file("state.rs")
        .compile_fds(protox::compile([STATE], ["proto"])?)?;
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    // An archive without history has no revision.
    let revision = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=CHANDLER_REVISION={revision}");
    Ok(())
}

fn git(args: &[&str]) -> Option<String> {
    let out = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    out.status.success().then(|| text.trim().to_string())
}
