//! Open files: as many as the system allows.
//!
//! Every stream takes a socket. A shell or a container often grants 1024 at first and far more to who asks; a thousand
//! control planes that come back at once are beyond the former.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Registries, files that are read, the listeners and the log, beside what streams take.
const BESIDE: u64 = 512;

/// Asks for all that may be had, and says so if that is too little for `streams`.
pub(super) fn raise(streams: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, ?current, ?maximum, "the limit of open files stays");
    }
    let wanted = u64::try_from(streams).unwrap_or(u64::MAX).saturating_add(BESIDE);
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted) {
        tracing::warn!(
            limit,
            wanted,
            "fewer files may be open than server.limits.streams needs: raise the limit (LimitNOFILE=, ulimit -n), or lower that"
        );
    }
}
