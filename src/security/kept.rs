//! Values that are made of files and made anew when those change.
//!
//! Whoever uses one asks [`Kept::get`], which never waits. Files are compared by content, every few seconds and all by
//! one task: that works alike for editors, for volumes of Kubernetes (a link that is swapped) and over networks, where
//! watches differ or lie. What is on disk is taken over whole or not at all: while it is missing or wrong, the last good
//! value stays in force, the log says so once and a metric as long as it lasts.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_128;

/// How often the files are compared. Certificates are renewed days ahead; a token that was taken back should not be
/// good for much longer.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Far more than any of these files needs; a wrong path may name anything.
const MAX_BYTES: u64 = 4 << 20;

/// What can be made of files.
pub(crate) trait Held: Send + Sync + 'static {
    /// Until when it is good, in seconds since 1970.
    fn expires(&self) -> Option<i64> {
        None
    }

    /// Why it had better not take the place of `old`.
    fn worse_than(&self, _old: &Self) -> Option<String> {
        None
    }
}

/// A file and what was in it.
pub(crate) struct File<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: Vec<u8>,
}

type Make<T> = dyn Fn(&[File<'_>]) -> Result<T, String> + Send + Sync;

/// A value made of files. Holds the last good one.
pub(crate) struct Kept<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    value: ArcSwapOption<T>,
    /// Of the contents at the last look, which may be secret and are not kept themselves. Held while the disk is read.
    seen: Mutex<Option<u128>>,
    /// What was wrong with them. Never held while anything is waited for.
    problem: Mutex<Option<String>>,
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("what", &self.what).field("files", &self.files).finish_non_exhaustive()
    }
}

impl<T: Held> Kept<T> {
    /// Reads `files`, at least one, and makes the value if they are right: see [`problem`](Self::problem).
    /// `what` names it in the log. Waits for the disk.
    pub(crate) fn of(
        what: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn(&[File<'_>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        let (make, value) = (Box::new(make), ArcSwapOption::empty());
        let kept = Self { what, files, make, value, seen: Mutex::default(), problem: Mutex::default() };
        kept.renew();
        kept
    }

    /// The last good value; `None` if there never was one.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        self.value.load_full()
    }

    /// What is wrong with the files as they are now.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the files over if they have changed. Returns whether they have. Waits for the disk.
    fn renew(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let contents: Result<Vec<File<'_>>, String> = self.files.iter().map(|p| read(p)).collect();
        let digest = digest(&contents);
        if *seen == Some(digest) {
            return false;
        }
        *seen = Some(digest);
        let problem = self.replace(contents).err();
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        true
    }

    fn replace(&self, contents: Result<Vec<File<'_>>, String>) -> Result<(), String> {
        let new = (self.make)(&contents?)?;
        let old = self.value.load();
        if let Some(problem) = old.as_ref().and_then(|old| new.worse_than(old)) {
            return Err(problem);
        }
        self.value.store(Some(Arc::new(new)));
        Ok(())
    }
}

/// Any [`Kept`].
pub(crate) trait Look: Send + Sync {
    /// Takes the files over if they have changed, and says so. Waits for the disk.
    fn look(&self);

    fn row(&self) -> Row;
}

/// How a [`Kept`] is, for metrics.
#[derive(Debug)]
pub(crate) struct Row {
    /// The first of the files.
    file: String,
    /// Whether the value in force is not what the files hold.
    stale: bool,
    expires: Option<i64>,
}

impl<T: Held> Look for Kept<T> {
    fn look(&self) {
        if !self.renew() {
            return;
        }
        let files = self.files.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        match (self.problem(), self.value.load().is_some()) {
            (None, _) => tracing::info!(files, "{} changed and was read again", self.what),
            (Some(why), true) => {
                tracing::error!(
                    files,
                    "{} changed and cannot be used, what was read before stays: {why}",
                    self.what
                );
            }
            (Some(why), false) => tracing::error!(files, "{} still cannot be used: {why}", self.what),
        }
    }

    fn row(&self) -> Row {
        let file = self.files.first().map(|p| p.display().to_string()).unwrap_or_default();
        let expires = self.value.load().as_ref().and_then(|v| v.expires());
        Row { file, stale: self.problem().is_some(), expires }
    }
}

fn read(path: &Path) -> Result<File<'_>, String> {
    let words = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => format!("{}: no such file: check the path", path.display()),
        std::io::ErrorKind::PermissionDenied => {
            format!("{}: may not be read: give the user that runs chandler the right to", path.display())
        }
        std::io::ErrorKind::IsADirectory => format!("{}: is a directory: name a file in it", path.display()),
        _ => format!("{}: cannot be read: {e}", path.display()),
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(words)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(words)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!(
            "{}: is larger than {} MiB: is this the right file?",
            path.display(),
            MAX_BYTES >> 20
        ));
    }
    Ok(File { path, bytes })
}

fn digest(contents: &Result<Vec<File<'_>>, String>) -> u128 {
    match contents {
        Ok(files) => {
            let each: Vec<u8> = files.iter().flat_map(|f| xxh3_128(&f.bytes).to_le_bytes()).collect();
            xxh3_128(&each)
        }
        Err(problem) => !xxh3_128(problem.as_bytes()),
    }
}

/// Looks after everything that is kept, for as long as somebody uses it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keeper {
    all: Arc<Mutex<Vec<Weak<dyn Look>>>>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("files", &self.living().len()).finish()
    }
}

impl Keeper {
    /// Looks after `kept` until nobody else holds it.
    pub(crate) fn keep<T: Held>(&self, kept: Kept<T>) -> Arc<Kept<T>> {
        let kept = Arc::new(kept);
        let weak: Weak<dyn Look> = Arc::downgrade(&(Arc::clone(&kept) as Arc<dyn Look>));
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(weak);
        kept
    }

    /// Reads again what has changed. Waits for the disk.
    pub fn look(&self) {
        for kept in self.living() {
            kept.look();
        }
    }

    /// Looks every few seconds, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let keeper = self.clone();
            // A disk that hangs holds up this task and nobody else.
            let looked = tokio::task::spawn_blocking(move || keeper.look());
            tokio::select! {
                () = stop.cancelled() => return,
                looked = looked => if let Err(error) = looked {
                    tracing::error!(%error, "looking at certificates, tokens and access lists failed");
                }
            }
        }
    }

    /// The metrics of everything that is kept, to be registered under the prefix `chandler_`.
    #[must_use]
    pub fn metrics(&self) -> Box<dyn Collector> {
        Box::new(Metrics(self.clone()))
    }

    fn living(&self) -> Vec<Arc<dyn Look>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|weak| weak.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    /// By file; listeners may share one.
    fn rows(&self) -> BTreeMap<String, Row> {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for row in self.living().iter().map(|kept| kept.row()) {
            let stale = row.stale || rows.get(&row.file).is_some_and(|r| r.stale);
            rows.insert(row.file.clone(), Row { stale, ..row });
        }
        rows
    }
}

#[derive(Debug)]
struct Metrics(Keeper);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let rows = self.0.rows();
        if rows.is_empty() {
            return Ok(());
        }
        let stale = rows.values().map(|row| (&row.file, i64::from(row.stale)));
        let help = "1 while a certificate, key, token or access file is missing or wrong and the last good content is in force";
        put(&mut encoder, "security_file_stale", help, None, stale)?;
        let expiries = rows.values().filter_map(|row| Some((&row.file, row.expires?)));
        if expiries.clone().next().is_none() {
            return Ok(());
        }
        let help =
            "Until when the certificate in force is good, in seconds since 1970; of a CA file, its last";
        put(&mut encoder, "tls_certificate_expiry_timestamp", help, Some(&Unit::Seconds), expiries)
    }
}

fn put<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    rows: impl Iterator<Item = (&'a String, i64)>,
) -> Result<(), fmt::Error> {
    let kind = prometheus_client::metrics::MetricType::Gauge;
    let mut family = encoder.encode_descriptor(name, help, unit, kind)?;
    for (file, value) in rows {
        let label = [("file", file.as_str())];
        ConstGauge::new(value).encode(family.encode_family(&label)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    struct Number(i64);

    impl Held for Number {
        fn expires(&self) -> Option<i64> {
            Some(self.0)
        }

        fn worse_than(&self, old: &Self) -> Option<String> {
            (self.0 < old.0).then(|| "smaller".into())
        }
    }

    fn number(path: &Path, keeper: &Keeper) -> Arc<Kept<Number>> {
        keeper.keep(Kept::of("a number", vec![path.into()], |files| {
            let text = std::str::from_utf8(&files[0].bytes).unwrap();
            text.parse().map(Number).map_err(|_| format!("{} holds no number", files[0].path.display()))
        }))
    }

    fn exposition(keeper: &Keeper) -> String {
        let mut registry = Registry::with_prefix("chandler");
        registry.register_collector(keeper.metrics());
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        out
    }

    #[test]
    fn the_last_good_value_stays_while_the_file_is_wrong_or_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let keeper = Keeper::default();
        let kept = number(&path, &keeper);
        let value = || kept.get().map(|n| n.0);
        assert!(kept.problem().unwrap().contains("no such file") && value().is_none());
        std::fs::write(&path, "5").unwrap();
        keeper.look();
        assert_eq!((value(), kept.problem()), (Some(5), None));
        for wrong in [Some("five"), Some("4"), None] {
            match wrong {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            keeper.look();
            assert!(value() == Some(5) && kept.problem().is_some(), "{wrong:?}");
            let stale = format!("chandler_security_file_stale{{file=\"{}\"}} 1", path.display());
            assert!(exposition(&keeper).contains(&stale), "{}", exposition(&keeper));
        }
        std::fs::write(&path, "5").unwrap();
        keeper.look();
        assert_eq!((value(), kept.problem()), (Some(5), None));
    }

    #[test]
    fn a_swapped_link_is_a_change() {
        // As Kubernetes does it: n -> ..data/n, and ..data is renamed over.
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, text) in [("v1", "1"), ("v2", "2")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("n"), text).unwrap();
        }
        std::os::unix::fs::symlink("v1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/n", at("n")).unwrap();
        let keeper = Keeper::default();
        let kept = number(&at("n"), &keeper);
        assert_eq!(kept.get().unwrap().0, 1);
        std::os::unix::fs::symlink("v2", at("..new")).unwrap();
        std::fs::rename(at("..new"), at("..data")).unwrap();
        keeper.look();
        assert_eq!(kept.get().unwrap().0, 2);
    }

    #[test]
    fn what_nobody_holds_is_not_looked_after_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        std::fs::write(&path, "7").unwrap();
        let keeper = Keeper::default();
        let (first, second) = (number(&path, &keeper), number(&path, &keeper));
        let row =
            format!("chandler_tls_certificate_expiry_timestamp_seconds{{file=\"{}\"}} 7", path.display());
        assert_eq!(exposition(&keeper).matches(&row).count(), 1);
        drop((first, second));
        assert!(!exposition(&keeper).contains("file="));
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_finds_a_change_and_ends_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        std::fs::write(&path, "1").unwrap();
        let keeper = Keeper::default();
        let kept = number(&path, &keeper);
        std::fs::write(&path, "2").unwrap();
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(keeper.run(stop.clone()));
        // Time moves only when nobody has anything to do.
        for _ in 0..3 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        assert_eq!(kept.get().unwrap().0, 2);
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }
}
