//! What a test needs and whether it is there, and the report of what ran.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Something that a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The age of istiod that asks for `v1alpha3` and starts without Kubernetes.
    Istiod118,
    /// 1.16.5, with `tests/run --all`.
    Istiod116,
    /// Between 1.21 and 1.22, with `tests/run --all`.
    Istiod122,
    /// The newest istiod, which asks for `v1`.
    IstiodNewest,
    /// The proxy.
    Envoy,
    /// Our own client and stand-ins.
    Probe,
    /// The real Kubernetes API server.
    KubeApiserver,
    /// Its store.
    Etcd,
    /// The renderer of charts.
    Helm,
    /// 1.6.14, the legacy control plane of most tests.
    Pilot16,
    /// 1.5.10, with `tests/run --all`.
    Pilot15,
    /// 1.7.8, with `tests/run --all`.
    Pilot17,
    /// The server that spoke the legacy protocol before us, with `tests/run --all`.
    Galley,
    /// Our judge on the reference sink.
    RefSink,
    /// Consul 1.22.7.
    Consul,
    /// Consul 1.8.7, with `tests/run --all`.
    ConsulOld,
    /// A Eureka server.
    Eureka,
    /// A Spring Cloud application, with `tests/run --all`.
    Spring,
    /// ZooKeeper 3.8.
    ZooKeeper,
    /// Dubbo 3.3.
    Dubbo33,
    /// Dubbo 3.2, with `tests/run --all`.
    Dubbo32,
    /// Dubbo 2.7.
    Dubbo27,
    /// Rights to make a network namespace with redirect rules in it.
    Namespace,
    /// `tests/run --all`: what takes minutes.
    LongRuns,
}

impl Need {
    const fn variable(self) -> &'static str {
        match self {
            Self::Istiod118 => "CHANDLER_ISTIOD_1_18",
            Self::Istiod116 => "CHANDLER_ISTIOD_1_16",
            Self::Istiod122 => "CHANDLER_ISTIOD_1_22",
            Self::IstiodNewest => "CHANDLER_ISTIOD_NEWEST",
            Self::Envoy => "CHANDLER_ENVOY",
            Self::Probe => "CHANDLER_PROBE",
            Self::KubeApiserver => "CHANDLER_KUBE_APISERVER",
            Self::Etcd => "CHANDLER_ETCD",
            Self::Helm => "CHANDLER_HELM",
            Self::Pilot15 => "CHANDLER_PILOT_1_5",
            Self::Pilot16 => "CHANDLER_PILOT_1_6",
            Self::Pilot17 => "CHANDLER_PILOT_1_7",
            Self::Galley => "CHANDLER_GALLEY",
            Self::RefSink => "CHANDLER_REFSINK",
            Self::Consul => "CHANDLER_CONSUL",
            Self::ConsulOld => "CHANDLER_CONSUL_1_8",
            Self::Eureka => "CHANDLER_EUREKA",
            Self::Spring => "CHANDLER_SPRING",
            Self::ZooKeeper => "CHANDLER_ZOOKEEPER",
            Self::Dubbo33 => "CHANDLER_DUBBO_3_3",
            Self::Dubbo32 => "CHANDLER_DUBBO_3_2",
            Self::Dubbo27 => "CHANDLER_DUBBO_2_7",
            Self::Namespace => "",
            Self::LongRuns => "CHANDLER_TEST_ALL",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Istiod116 | Self::Istiod118 | Self::Istiod122 | Self::IstiodNewest => "istiod",
            Self::Envoy => "Envoy",
            Self::Probe => "probe",
            Self::KubeApiserver => "kube-apiserver",
            Self::Etcd => "etcd",
            Self::Helm => "helm",
            Self::Pilot15 | Self::Pilot16 | Self::Pilot17 => "Pilot",
            Self::Galley => "Galley",
            Self::RefSink => "refsink",
            Self::Consul | Self::ConsulOld => "Consul",
            Self::Eureka => "Eureka",
            Self::Spring => "Spring Cloud",
            Self::ZooKeeper => "ZooKeeper",
            Self::Dubbo27 | Self::Dubbo32 | Self::Dubbo33 => "Dubbo",
            Self::Namespace => "network namespace",
            Self::LongRuns => "long runs",
        }
    }

    const fn installer(self) -> &'static str {
        match self {
            Self::Istiod116 | Self::Istiod122 | Self::KubeApiserver | Self::Etcd => "tests/run --all",
            Self::Pilot15 | Self::Pilot17 | Self::Galley | Self::ConsulOld | Self::Spring | Self::Dubbo32 => {
                "tests/run --all"
            }
            _ => "tests/run",
        }
    }

    /// Where its program is.
    ///
    /// # Panics
    /// If it is not there: the test has not said that it needs it.
    pub fn program(self) -> PathBuf {
        let path = std::env::var_os(self.variable())
            .unwrap_or_else(|| panic!("the test did not list {self:?} in needs!()"));
        PathBuf::from(path)
    }

    /// Why it cannot be had, or what exactly is there.
    fn check(self) -> Result<String, String> {
        match self {
            Self::Namespace => namespaces_work().map(|()| self.name().to_owned()),
            Self::LongRuns if std::env::var_os(self.variable()).is_some() => Ok(self.name().to_owned()),
            Self::LongRuns => Err("tests/run --all (it takes minutes)".to_owned()),
            _ => {
                let missing = || format!("{self:?} ({} installs it)", self.installer());
                let path = std::env::var_os(self.variable()).map(PathBuf::from).ok_or_else(missing)?;
                if !path.is_file() {
                    return Err(format!("{}, and {} names no file", missing(), self.variable()));
                }
                Ok(format!("{} {}", self.name(), version_beside(&path)))
            }
        }
    }
}

/// The version that `tests/servers/install` wrote down beside the program.
fn version_beside(program: &Path) -> String {
    let text = std::fs::read_to_string(program.with_file_name("VERSION"));
    text.map_or_else(|_| "of unknown version".to_owned(), |text| text.trim().to_owned())
}

/// Tried once: what is missing on this machine for namespaces, in words.
fn namespaces_work() -> Result<(), String> {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    TRIED.get_or_init(try_namespace).clone()
}

fn try_namespace() -> Result<(), String> {
    let script = "command -v nsenter >/dev/null || { echo nsenter is missing >&2; exit 1; }
        ip link set lo up && iptables -t nat -L OUTPUT -n >/dev/null";
    let output = Command::new("unshare").args(["-n", "sh", "-c", script]).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().next().unwrap_or("no reason given");
            Err(format!("a network namespace with iptables, as root ({first})"))
        }
        Err(error) => Err(format!("unshare ({error})")),
    }
}

/// A test that has what it needs. When it ends, the report says so, with the versions.
#[derive(Debug)]
pub struct Ran {
    test: String,
    against: String,
}

impl Drop for Ran {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { "failed" } else { "ran" };
        report(&format!("{outcome} {} {}", self.test, self.against));
    }
}

/// `here` is the path of a function inside the test, as the compiler writes it; use [`needs!`](crate::needs).
pub fn available(here: &str, needs: &[Need]) -> Option<Ran> {
    let path = here.trim_end_matches("::here").replace("::{{closure}}", "");
    let mut against = Vec::new();
    for need in needs {
        match need.check() {
            Ok(version) => against.push(version),
            Err(missing) => {
                // Past the capture of output: a test that did not run must not look like one that did.
                let _unseen = writeln!(std::io::stderr(), "left out: {path}: needs {missing}");
                report(&format!("left-out {path} needs {missing}"));
                return None;
            }
        }
    }
    Some(Ran { test: path, against: against.join(", ") })
}

/// Adds a line to the file that `tests/run` reads. One write per line: other tests append as well.
pub fn report(line: &str) {
    if let Some(path) = std::env::var_os("CHANDLER_TEST_REPORT") {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            eprintln!("cannot write to {}: {error}", path.display());
        }
    }
}
