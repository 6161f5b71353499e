//! The files registry against real directories: what a life says when files are edited as people and tools edit them.

#![cfg(feature = "files")]
// The exemption of tests in .clippy.toml does not reach their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chandler::model::change::{Cause, Change, Item, Trust};
use chandler::model::service::RegistryName;
use chandler::pipeline::intake::{CAPACITY, Changes, Delivery, Generation};
use chandler::registry::files::{DEFAULT_NAMESPACE, FilesFactory, FilesSource};
use chandler::registry::{Factory, RegistryError};
use chandler::runtime::status::Status;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a busy machine; a rescan comes later, so what the watch misses fails the test.
const SOON: Duration = Duration::from_secs(20);

/// A factory, the directory that it reads, and its present life.
struct Bench {
    _dir: TempDir,
    root: PathBuf,
    factory: FilesFactory,
    status: Arc<Status>,
    name: RegistryName,
    life: Option<Life>,
}

struct Life {
    said: mpsc::Receiver<Delivery>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), RegistryError>>,
}

impl Bench {
    /// A registry of the directory `services` in a directory of its own, with these files.
    fn new(files: &[(&str, &str)]) -> Self {
        Self::at("services", files)
    }

    fn at(path: &str, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("services");
        fs::create_dir(&root).unwrap();
        let (status, name) = (Arc::new(Status::default()), RegistryName::new("onboard"));
        let source = FilesSource::Path(dir.path().join(path));
        let factory = FilesFactory::new(source, name.clone(), DEFAULT_NAMESPACE, Arc::clone(&status));
        let bench = Self { _dir: dir, root, factory, status, name, life: None };
        for (name, text) in files {
            bench.write(name, text);
        }
        bench
    }

    /// As if written an hour ago. What is young proves nothing by its stamp and may be read again by any sweep, which tests
    /// that count reads do not want.
    fn age(&self, name: &str) {
        let file = fs::File::options().append(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Creates directories as needed and writes in place.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// As a good tool writes: beside, then renamed into place.
    fn replace(&self, name: &str, text: &str) {
        let beside = self.path(&format!("{name}.tmp"));
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.path(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn start(&mut self) {
        let (out, said) = mpsc::channel(CAPACITY);
        let changes = Changes::new(self.name.clone(), Generation(1), out);
        let stop = CancellationToken::new();
        let run = self.factory.registry().run(changes, stop.clone());
        #[allow(clippy::disallowed_methods)] // the test owns it
        let ended = tokio::spawn(run);
        self.life = Some(Life { said, stop, ended });
    }

    /// Ends the present life as the supervisor does.
    async fn stop(&mut self) {
        let life = self.life.take().unwrap();
        life.stop.cancel();
        tokio::time::timeout(SOON, life.ended).await.expect("ends").unwrap().unwrap();
    }

    /// The next batch.
    async fn next(&mut self) -> Said {
        let said = &mut self.life.as_mut().unwrap().said;
        let delivery = tokio::time::timeout(SOON, said.recv()).await.expect("says something").expect("lives");
        assert_eq!(delivery.registry, self.name);
        Said(delivery.batch.0)
    }

    /// Starts a life whose first words are a complete reset.
    async fn reset(&mut self) -> Vec<String> {
        self.start();
        self.next().await.reset()
    }

    /// Adds a file of one service and returns all that was said up to then and this.
    async fn until_marked(&mut self, mark: &str) -> Vec<Said> {
        self.replace(&format!("{mark}.yaml"), &list(&[mark]));
        let mut all = vec![self.next().await];
        while !all.last().unwrap().lines().contains(&format!("+{mark}.yaml#{mark}")) {
            all.push(self.next().await);
        }
        all
    }

    /// What the status says is wrong, once it says something for which `wanted` holds. Nothing tells when, so it is asked again.
    async fn problem(&self, wanted: impl Fn(Option<&str>) -> bool) -> Option<String> {
        let asked = async {
            loop {
                let problem = self.status.registries().get(&self.name).and_then(|s| s.problem.clone());
                if wanted(problem.as_deref()) {
                    return problem;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, asked).await.expect("the status says so")
    }
}

/// While it lasts no time passes for the life: what is written slowly on a busy machine is not taken for finished. A paused
/// clock would jump whenever nobody has anything to do, were it not for work that blocks.
struct Standstill {
    go_on: std::sync::mpsc::Sender<()>,
    blocking: JoinHandle<()>,
}

impl Standstill {
    fn begin() -> Self {
        let (go_on, told) = std::sync::mpsc::channel();
        let blocking = tokio::task::spawn_blocking(move || {
            let _told_or_gone = told.recv();
        });
        tokio::time::pause();
        Self { go_on, blocking }
    }

    async fn end(self) {
        tokio::time::resume();
        drop(self.go_on);
        self.blocking.await.unwrap();
    }
}

/// A batch, shown for comparisons: `+key` upsert, `?key` refused, `-key cause` removed.
#[derive(Debug)]
struct Said(Vec<Change>);

impl Said {
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.0.iter().map(line).collect();
        lines.sort();
        lines
    }

    /// The items of the only change, a complete reset.
    fn reset(&self) -> Vec<String> {
        match &self.0[..] {
            [Change::Reset { scope, items, trust: Trust::Complete }] if scope.as_str() == "files" => {
                items.iter().map(|i| line(&Change::Upsert(i.clone()))).collect()
            }
            other => panic!("no complete reset: {other:?}"),
        }
    }

    /// The reason of the only refusal.
    fn why(&self) -> &str {
        let why =
            |c: &Change| if let Change::Upsert(Item::Refused(_, why)) = c { Some(why.clone()) } else { None };
        assert_eq!(self.0.iter().filter_map(why).count(), 1, "{self:?}");
        self.0
            .iter()
            .find_map(|c| if let Change::Upsert(Item::Refused(_, why)) = c { Some(&**why) } else { None })
            .unwrap()
    }
}

fn line(change: &Change) -> String {
    match change {
        Change::Upsert(Item::Refused(key, _)) => format!("?{key}"),
        Change::Upsert(item) => format!("+{}", item.key()),
        Change::Remove(key, cause) => format!("-{key} {cause:?}"),
        Change::Reset { .. } => "reset".into(),
    }
}

/// A list of services of these names.
fn list(names: &[&str]) -> String {
    let entries = names.iter().map(|n| format!("- {{name: {n}, hosts: [{n}.example]}}\n"));
    format!("services:\n{}", entries.collect::<String>())
}

/// The same service with another host.
fn other(name: &str) -> String {
    format!("services:\n- {{name: {name}, hosts: [other.example]}}\n")
}

const BROKEN: &str = "services:\n- name: [x\n";

fn vanished(key: &str) -> String {
    format!("-{key} {:?}", Cause::Vanished)
}

fn deleted(key: &str) -> String {
    format!("-{key} {:?}", Cause::Deleted)
}

#[tokio::test]
async fn the_first_words_are_everything_at_any_depth_in_order() {
    let mut b = Bench::new(&[
        ("b.yaml", &list(&["two", "one"])),
        ("a/deep/er/x.yml", &list(&["x"])),
        ("c.JSON", r#"{"services": [{"name": "j"}]}"#),
        ("a/README.md", "services: no"),
        ("empty.yaml", ""),
    ]);
    assert_eq!(b.reset().await, ["+a/deep/er/x.yml#x", "+b.yaml#one", "+b.yaml#two", "+c.JSON#j"]);
    assert_eq!(b.factory.reads(), 4);
    b.stop().await;
}

#[tokio::test]
async fn an_atomic_rename_says_what_changed_and_no_other_file_is_read() {
    const OTHERS: u64 = 40;
    let mut b = Bench::new(&[("a.yaml", &list(&["one", "two"]))]);
    for n in 0..OTHERS {
        let name = format!("other{n}.yaml");
        b.write(&name, &list(&["three"]));
        b.age(&name);
    }
    b.reset().await;
    let before = b.factory.reads();
    b.replace("a.yaml", &format!("{}- {{name: two, hosts: [new.example]}}\n", list(&["one"])));
    assert_eq!(b.next().await.lines(), ["+a.yaml#two"]);
    // It is young, and several notices may speak of it: it may be read more than once.
    let read = b.factory.reads() - before;
    assert!((1..OTHERS).contains(&read), "{read}");
    b.stop().await;
}

#[tokio::test]
async fn an_entry_taken_out_is_deregistered_and_a_file_that_goes_is_silent_absence() {
    let mut b = Bench::new(&[("a.yaml", &list(&["one", "two"])), ("d/b.yaml", &list(&["three"]))]);
    b.reset().await;
    b.write("a.yaml", &list(&["one"]));
    assert_eq!(b.next().await.lines(), [deleted("a.yaml#two")]);
    b.remove("d/b.yaml");
    assert_eq!(b.next().await.lines(), [vanished("d/b.yaml#three")]);
    b.write("a.yaml", "services: []\n");
    assert_eq!(b.next().await.lines(), [deleted("a.yaml#one")]);
    b.stop().await;
}

#[tokio::test]
async fn a_file_written_in_place_is_read_when_its_writer_closes_it() {
    use std::io::Write;
    let mut b = Bench::new(&[("a.yaml", &list(&["one", "two"]))]);
    b.reset().await;
    let still = Standstill::begin();
    let mut file = fs::File::create(b.path("a.yaml")).unwrap();
    file.write_all(list(&["one"]).as_bytes()).unwrap();
    file.flush().unwrap();
    // Something else is read in the meantime; what is half written says nothing, although it parses.
    assert_eq!(b.until_marked("m").await.len(), 1);
    still.end().await;
    file.write_all(b"- {name: two, hosts: [new.example]}\n").unwrap();
    drop(file);
    assert_eq!(b.next().await.lines(), ["+a.yaml#two"]);
    b.stop().await;
}

#[tokio::test]
async fn a_broken_file_keeps_what_it_said_until_it_is_mended_and_its_neighbours_go_on() {
    let mut b = Bench::new(&[("a.yaml", &list(&["one", "two"])), ("b.yaml", &list(&["three"]))]);
    b.reset().await;
    b.replace("a.yaml", BROKEN);
    let said = b.next().await;
    assert_eq!(said.lines(), ["?a.yaml"]);
    let shown = b.path("a.yaml").display().to_string();
    assert!(said.why().starts_with(&format!("{shown}:2:9: ")), "{}", said.why());
    let problem = b.problem(|p| p.is_some()).await.unwrap();
    assert_eq!(problem, said.why());
    b.replace("b.yaml", &other("three"));
    assert_eq!(b.next().await.lines(), ["+b.yaml#three"]);
    b.replace("a.yaml", &list(&["one"]));
    assert_eq!(b.next().await.lines(), [deleted("a.yaml"), deleted("a.yaml#two")]);
    b.problem(|p| p.is_none()).await;
    b.stop().await;
}

#[tokio::test]
async fn a_file_that_is_broken_for_a_moment_only_says_nothing_about_it() {
    let mut b = Bench::new(&[("a.yaml", &list(&["one"]))]);
    b.reset().await;
    b.replace("a.yaml", BROKEN);
    b.replace("a.yaml", &other("one"));
    assert_eq!(b.next().await.lines(), ["+a.yaml#one"]);
    b.remove("a.yaml");
    b.write("a.yaml", &list(&["one"]));
    assert_eq!(b.next().await.lines(), ["+a.yaml#one"]);
    b.stop().await;
}

#[tokio::test]
async fn an_emptied_file_keeps_what_it_said() {
    let mut b = Bench::new(&[("a.yaml", &list(&["one"]))]);
    b.reset().await;
    b.write("a.yaml", "");
    let said = b.next().await;
    assert_eq!(said.lines(), ["?a.yaml"]);
    assert!(said.why().contains("is empty: write `services: []`"), "{}", said.why());
    b.remove("a.yaml");
    assert_eq!(b.next().await.lines(), [deleted("a.yaml"), vanished("a.yaml#one")]);
    b.stop().await;
}

#[tokio::test]
async fn an_item_that_makes_no_sense_is_refused_alone() {
    let mut b = Bench::new(&[("a.yaml", &list(&["one", "two"]))]);
    b.reset().await;
    b.replace("a.yaml", "services:\n- {name: one, hosts: ['*']}\n- {name: two, hosts: [new.example]}\n");
    let said = b.next().await;
    assert_eq!(said.lines(), ["+a.yaml#two", "?a.yaml#one"]);
    assert!(said.why().ends_with("a.yaml:2:23: invalid host *"), "{}", said.why());
    b.stop().await;
}

#[tokio::test]
async fn a_renamed_file_is_one_batch_and_no_absence() {
    let mut b = Bench::new(&[("a.yaml", &list(&["one", "two"]))]);
    b.reset().await;
    b.rename("a.yaml", "b.yaml");
    let wanted = ["+b.yaml#one", "+b.yaml#two", &deleted("a.yaml#one"), &deleted("a.yaml#two")];
    assert_eq!(b.next().await.lines(), wanted);
    b.stop().await;
}

#[tokio::test]
async fn a_renamed_directory_is_one_batch_and_is_watched_under_its_new_name() {
    let mut b = Bench::new(&[("d/x/a.yaml", &list(&["one"])), ("d/b.yaml", &list(&["two"]))]);
    b.reset().await;
    b.rename("d", "e");
    let wanted = ["+e/b.yaml#two", "+e/x/a.yaml#one", &deleted("d/b.yaml#two"), &deleted("d/x/a.yaml#one")];
    assert_eq!(b.next().await.lines(), wanted);
    b.replace("e/x/a.yaml", &other("one"));
    assert_eq!(b.next().await.lines(), ["+e/x/a.yaml#one"]);
    b.rename("e", "d");
    assert_eq!(b.next().await.lines().len(), 4);
    b.replace("d/x/a.yaml", &list(&["one"]));
    assert_eq!(b.next().await.lines(), ["+d/x/a.yaml#one"]);
    b.stop().await;
}

#[tokio::test]
async fn new_directories_are_watched_at_once_and_removed_ones_forgotten() {
    let mut b = Bench::new(&[]);
    assert_eq!(b.reset().await, Vec::<String>::new());
    b.write("new/deep/a.yaml", &list(&["one"]));
    assert_eq!(b.next().await.lines(), ["+new/deep/a.yaml#one"]);
    b.replace("new/deep/a.yaml", &other("one"));
    assert_eq!(b.next().await.lines(), ["+new/deep/a.yaml#one"]);
    fs::remove_dir_all(b.path("new")).unwrap();
    assert_eq!(b.next().await.lines(), [vanished("new/deep/a.yaml#one")]);
    b.write("new/deep/a.yaml", &list(&["one"]));
    assert_eq!(b.next().await.lines(), ["+new/deep/a.yaml#one"]);
    b.stop().await;
}

#[tokio::test]
async fn files_of_editors_and_tools_are_never_read() {
    let mut b =
        Bench::new(&[("a.yaml", &list(&["one"])), (".hidden/x.yaml", BROKEN), ("lost+found/x.yaml", BROKEN)]);
    b.age("a.yaml");
    b.reset().await;
    let before = b.factory.reads();
    let names =
        [".a.yaml.swp", "a.yaml~", "#a.yaml#", ".#a.yaml", "a.yaml.tmp", "4913", "~$a.yaml", ".x.yaml"];
    for name in names {
        b.write(name, BROKEN);
    }
    // One that was read would be spoken of: it is broken.
    assert_eq!(b.until_marked("m").await.len(), 1);
    // The mark is young, so a sweep for what was written before it may read it again.
    let read = b.factory.reads() - before;
    assert!((1..names.len() as u64).contains(&read), "{read}");
    // As vim saves: the old file is renamed away, the new one is written under its name, the backup is removed.
    b.rename("a.yaml", "a.yaml~");
    b.write("a.yaml", &other("one"));
    b.remove("a.yaml~");
    assert_eq!(b.next().await.lines(), ["+a.yaml#one"]);
    b.stop().await;
}

/// A volume as kubelet lays it out: links to `..data`, which is a link to a directory that is never changed.
#[cfg(unix)]
struct Volume<'a>(&'a Bench);

#[cfg(unix)]
impl Volume<'_> {
    fn publish(&self, version: &str, files: &[(&str, &str)]) {
        let Self(b) = self;
        for (name, text) in files {
            b.write(&format!("..{version}/{name}"), text);
            if !b.path(name).is_symlink() {
                std::os::unix::fs::symlink(format!("..data/{name}"), b.path(name)).unwrap();
            }
        }
        let old = fs::read_link(b.path("..data")).ok();
        std::os::unix::fs::symlink(format!("..{version}"), b.path("..data_tmp")).unwrap();
        b.rename("..data_tmp", "..data");
        if let Some(old) = old {
            fs::remove_dir_all(b.root.join(old)).unwrap();
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn every_swap_of_a_kubernetes_volume_is_noticed_and_nothing_is_read_twice() {
    let mut b = Bench::new(&[]);
    Volume(&b).publish("1", &[("a.yaml", &list(&["one"])), ("b.yaml", &list(&["two"]))]);
    assert_eq!(b.reset().await, ["+a.yaml#one", "+b.yaml#two"]);
    assert_eq!(b.factory.reads(), 2);
    for version in ["2", "3", "4"] {
        let text = format!("services: [{{name: one, hosts: [v{version}.example]}}]");
        Volume(&b).publish(version, &[("a.yaml", &text), ("b.yaml", &list(&["two"]))]);
        assert_eq!(b.next().await.lines(), ["+a.yaml#one"], "{version}");
    }
    b.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn one_file_of_a_kubernetes_volume_is_followed_as_well() {
    let mut b = Bench::at("services/a.yaml", &[]);
    Volume(&b).publish("1", &[("a.yaml", &list(&["one"])), ("b.yaml", &list(&["two"]))]);
    assert_eq!(b.reset().await, ["+a.yaml#one"]);
    for version in ["2", "3"] {
        let text = format!("services: [{{name: one, hosts: [v{version}.example]}}]");
        Volume(&b).publish(version, &[("a.yaml", &text), ("b.yaml", BROKEN)]);
        assert_eq!(b.next().await.lines(), ["+a.yaml#one"], "{version}");
    }
    b.stop().await;
}

#[tokio::test]
async fn a_registry_of_one_file_reads_that_file_only() {
    let mut b = Bench::at("services/a.conf", &[("a.conf", &list(&["one"])), ("b.yaml", BROKEN)]);
    assert_eq!(b.reset().await, ["+a.conf#one"]);
    b.replace("b.yaml", BROKEN);
    b.replace("a.conf", &other("one"));
    assert_eq!(b.next().await.lines(), ["+a.conf#one"]);
    b.remove("a.conf");
    assert_eq!(b.next().await.lines(), [vanished("a.conf#one")]);
    b.write("a.conf", &list(&["one"]));
    assert_eq!(b.next().await.lines(), ["+a.conf#one"]);
    b.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_once_and_loops_end() {
    use std::os::unix::fs::symlink;
    let mut b = Bench::new(&[("real/a.yaml", &list(&["one"]))]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("o.yaml"), list(&["two"])).unwrap();
    fs::write(outside.path().join("single"), list(&["three"])).unwrap();
    symlink(b.path("real"), b.path("alias")).unwrap();
    symlink(&b.root, b.path("real/loop")).unwrap();
    symlink(b.path("real/a.yaml"), b.path("same.yaml")).unwrap();
    symlink(outside.path(), b.path("dir")).unwrap();
    symlink(outside.path().join("single"), b.path("linked.yaml")).unwrap();
    assert_eq!(b.reset().await, ["+dir/o.yaml#two", "+linked.yaml#three", "+real/a.yaml#one"]);
    assert_eq!(b.factory.reads(), 3);
    let beside = outside.path().join("beside");
    fs::write(&beside, other("three")).unwrap();
    fs::rename(beside, outside.path().join("single")).unwrap();
    assert_eq!(b.next().await.lines(), ["+linked.yaml#three"]);
    b.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_a_directory_comes_is_swapped_and_goes() {
    use std::os::unix::fs::symlink;
    let mut b = Bench::new(&[]);
    let outside = tempfile::tempdir().unwrap();
    for (version, text) in [("v1", list(&["one"])), ("v2", other("one"))] {
        fs::create_dir(outside.path().join(version)).unwrap();
        fs::write(outside.path().join(version).join("a.yaml"), text).unwrap();
    }
    assert!(b.reset().await.is_empty());
    symlink(outside.path().join("v1"), b.path("current")).unwrap();
    assert_eq!(b.next().await.lines(), ["+current/a.yaml#one"]);
    symlink(outside.path().join("v2"), b.path("next")).unwrap();
    b.rename("next", "current");
    assert_eq!(b.next().await.lines(), ["+current/a.yaml#one"]);
    fs::write(outside.path().join("v2/a.yaml"), list(&["one"])).unwrap();
    assert_eq!(b.next().await.lines(), ["+current/a.yaml#one"]);
    b.remove("current");
    assert_eq!(b.next().await.lines(), [vanished("current/a.yaml#one")]);
    b.stop().await;
}

#[tokio::test]
async fn a_file_that_never_made_sense_keeps_the_reading_incomplete_until_it_is_mended() {
    let mut b = Bench::new(&[("a.yaml", BROKEN), ("b.yaml", &list(&["two"]))]);
    b.start();
    let said = b.next().await;
    assert_eq!(said.lines(), ["+b.yaml#two", "?a.yaml"]);
    let problem = b.problem(|p| p.is_some()).await.unwrap();
    assert!(problem.starts_with(said.why()) && problem.contains("not complete"), "{problem}");
    b.replace("b.yaml", &other("two"));
    assert_eq!(b.next().await.lines(), ["+b.yaml#two"]);
    b.replace("a.yaml", &list(&["one"]));
    assert_eq!(b.next().await.reset(), ["+a.yaml#one", "+b.yaml#two"]);
    b.problem(|p| p.is_none()).await;
    b.stop().await;
}

#[tokio::test]
async fn a_file_that_never_made_sense_is_no_hindrance_once_it_is_removed() {
    let mut b = Bench::new(&[("a.yaml", BROKEN), ("b.yaml", &list(&["two"]))]);
    b.start();
    b.next().await;
    b.remove("a.yaml");
    assert_eq!(b.next().await.reset(), ["+b.yaml#two"]);
    b.stop().await;
}

#[tokio::test]
async fn what_an_earlier_life_read_well_counts_while_the_file_is_broken() {
    let mut b = Bench::new(&[("a.yaml", &list(&["one"])), ("b.yaml", &list(&["two"]))]);
    b.reset().await;
    b.stop().await;
    b.write("a.yaml", BROKEN);
    b.write("b.yaml", &list(&["three"]));
    assert_eq!(b.reset().await, ["?a.yaml", "+a.yaml#one", "+b.yaml#three"]);
    b.stop().await;
    b.write("a.yaml", &list(&["one"]));
    assert_eq!(b.reset().await, ["+a.yaml#one", "+b.yaml#three"]);
    b.stop().await;
}

#[tokio::test]
async fn a_missing_directory_fails_the_life_and_says_what_to_do() {
    let mut b = Bench::at("nowhere", &[]);
    b.start();
    let life = b.life.take().unwrap();
    let ended = tokio::time::timeout(SOON, life.ended).await.unwrap().unwrap();
    let why = ended.unwrap_err().to_string();
    assert!(why.ends_with("nowhere does not exist; create it, or correct `path`"), "{why}");
}

#[tokio::test]
async fn a_directory_that_vanishes_is_silent_absence_and_comes_back() {
    let mut b = Bench::new(&[("a.yaml", &list(&["one"])), ("d/b.yaml", &list(&["two"]))]);
    b.reset().await;
    let away = b.root.with_file_name("away");
    fs::rename(&b.root, &away).unwrap();
    assert_eq!(b.next().await.lines(), [vanished("a.yaml#one"), vanished("d/b.yaml#two")]);
    let problem = b.problem(|p| p.is_some()).await.unwrap();
    assert!(problem.contains("does not exist"), "{problem}");
    fs::rename(&away, &b.root).unwrap();
    assert_eq!(b.next().await.lines(), ["+a.yaml#one", "+d/b.yaml#two"]);
    b.problem(|p| p.is_none()).await;
    b.replace("d/b.yaml", &other("two"));
    assert_eq!(b.next().await.lines(), ["+d/b.yaml#two"]);
    b.stop().await;
}

#[tokio::test]
async fn what_is_no_file_or_too_long_is_refused_in_words() {
    let mut b = Bench::new(&[("a.yaml", &list(&["one"]))]);
    b.reset().await;
    let long = fs::File::create(b.path("a.yaml.new")).unwrap();
    long.set_len(17 * 1024 * 1024).unwrap();
    drop(long);
    b.rename("a.yaml.new", "a.yaml");
    let said = b.next().await;
    assert_eq!(said.lines(), ["?a.yaml"]);
    assert!(
        said.why().ends_with("has 17825792 bytes: at most 16 MiB are read; split the file"),
        "{}",
        said.why()
    );
    b.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_dangling_link_is_a_fault_and_no_absence() {
    let mut b = Bench::new(&[("target", &list(&["one"]))]);
    std::os::unix::fs::symlink("target", b.path("a.yaml")).unwrap();
    assert_eq!(b.reset().await, ["+a.yaml#one"]);
    b.remove("target");
    let said = b.next().await;
    assert_eq!(said.lines(), ["?a.yaml"]);
    assert!(said.why().contains("is a link to something that cannot be read"), "{}", said.why());
    b.stop().await;
}

/// A directory becomes a link to itself: the one way to make it unreadable that holds for root as well.
#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_cannot_be_read_keeps_what_its_files_said() {
    let mut b = Bench::new(&[("d/a.yaml", &list(&["one"])), ("b.yaml", &list(&["two"]))]);
    b.reset().await;
    b.rename("d", ".away");
    std::os::unix::fs::symlink("d", b.path("d")).unwrap();
    let said = b.next().await;
    assert_eq!(said.lines(), ["?d"]);
    assert!(said.why().contains("cannot be read"), "{}", said.why());
    b.replace("b.yaml", &other("two"));
    assert_eq!(b.next().await.lines(), ["+b.yaml#two"]);
    b.remove("d");
    b.rename(".away", "d");
    assert_eq!(b.next().await.lines(), [deleted("d")]);
    b.stop().await;
}

#[tokio::test]
async fn a_thousand_files_at_once_are_all_said() {
    let mut b = Bench::new(&[]);
    b.reset().await;
    let mut wanted: BTreeMap<String, bool> = BTreeMap::new();
    for i in 0..1000 {
        b.write(&format!("d{}/f{i}.yaml", i % 10), &list(&["x"]));
        wanted.insert(format!("+d{}/f{i}.yaml#x", i % 10), false);
    }
    while wanted.values().any(|seen| !seen) {
        for line in b.next().await.lines() {
            assert_eq!(wanted.insert(line.clone(), true), Some(false), "{line}");
        }
    }
    b.stop().await;
}

#[tokio::test]
async fn embedded_files_are_said_once() {
    const FILES: &[(&str, &str)] = &[("shop.yaml", "services: [{name: shop}]")];
    let name = RegistryName::new("onboard");
    let factory =
        FilesFactory::new(FilesSource::Embedded(FILES), name.clone(), DEFAULT_NAMESPACE, Arc::default());
    let (out, mut said) = mpsc::channel(CAPACITY);
    let stop = CancellationToken::new();
    let run = factory.registry().run(Changes::new(name, Generation(1), out), stop.clone());
    #[allow(clippy::disallowed_methods)] // the test owns it
    let ended = tokio::spawn(run);
    assert_eq!(Said(said.recv().await.unwrap().batch.0).reset(), ["+shop.yaml#shop"]);
    stop.cancel();
    ended.await.unwrap().unwrap();
    assert_eq!(factory.scopes()[0].as_str(), "files");
}

/// The path of a directory is used as it was written; nothing depends on where the process stands.
#[test]
fn a_factory_touches_nothing_before_a_life_begins() {
    let source = FilesSource::Path(Path::new("does/not/exist").into());
    let factory = FilesFactory::new(source, RegistryName::new("x"), DEFAULT_NAMESPACE, Arc::default());
    assert_eq!((factory.reads(), factory.feeds().len()), (0, 2));
}
