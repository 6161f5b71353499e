//! Mutual TLS: what it costs beside rustls alone with the same settings.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chandler::resource::encoded::Encoded;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::authority::{Authority, GOOD, write};
use crate::client::HOST;
use crate::meter::Cost;
use crate::ours::{Bare, Rig};
use crate::wire::Wire;
use crate::{ROUNDS, Row, print};

/// Handshakes in a round.
const SHAKES: usize = 2000;
/// The claim: over rustls alone.
const LIMIT: f64 = 1.5;
const CLIENT: &str = "spiffe://cluster.local/ns/istio-system/sa/istiod";

/// `ca.crt`, and a pair for either side.
pub(crate) fn certificates(folder: &Path) {
    let authority = Authority::new("bench");
    write(folder, "ca.crt", &authority.pem);
    authority.issue(&[HOST], GOOD).write(folder, "server");
    authority.issue(&[CLIENT], GOOD).write(folder, "client");
}

/// rustls as one would set it up by hand; no tickets, as with ours: whoever comes back shakes hands in full.
pub(crate) fn plain_config(folder: &Path) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.crt")).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config =
        config.with_client_cert_verifier(clients.build().unwrap()).with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config
}

/// Prints both comparisons; whether the claims hold.
pub(crate) async fn compare(services: &[Encoded], message: &Bytes, folder: &Path) -> bool {
    let (bare, rig) = (Bare::open(Some(folder)).await, Rig::start(Some(folder)).await);
    let mut rows = vec![Row::new("rustls over TCP, alone")];
    rows.extend([Row::new("chandler, xDS, mutual TLS"), Row::new("chandler, MCP, mutual TLS")]);
    let mut shakes = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        rows[0].add(bare.round(message).await);
        rows[1].add(rig.round(Wire::Xds, services).await);
        rows[2].add(rig.round(Wire::Mcp, services).await);
        shakes[0].push(bare.shakes(SHAKES).await);
        shakes[1].push(rig.shakes(SHAKES).await);
    }
    println!("\nthe same over mutual TLS 1.3 (at most {LIMIT}x rustls alone)");
    print(&rows);
    println!("{SHAKES} handshakes, both certificates verified, 8 at a time");
    let medians = shakes.map(|rounds| median(&rounds));
    for (name, (cpu, wall)) in ["rustls over TCP, alone", "chandler"].into_iter().zip(medians) {
        let (each, rate) = (cpu * 1e6 / SHAKES as f64, SHAKES as f64 / wall);
        println!("{name:30} {each:>9.0} us CPU each, {rate:>7.0} a second");
    }
    let [(bare_cpu, bare_wall), (cpu, wall)] = medians;
    let base = rows[0].cost().cpu.as_secs_f64();
    let sent = rows[1..].iter().map(|row| row.cost().cpu.as_secs_f64() / base).fold(0.0, f64::max);
    println!(
        "over rustls alone: CPU of a megabyte {sent:.2}x, CPU of a handshake {:.2}x, time of a handshake {:.2}x",
        cpu / bare_cpu,
        wall / bare_wall
    );
    sent <= LIMIT && cpu / bare_cpu <= LIMIT && wall / bare_wall <= LIMIT
}

/// CPU and time, in seconds, each by itself.
fn median(rounds: &[Cost]) -> (f64, f64) {
    let middle = |of: fn(&Cost) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    (middle(|c| c.cpu.as_secs_f64()), middle(|c| c.wall.as_secs_f64()))
}
