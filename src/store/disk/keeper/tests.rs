//! The thread that writes, on a real disk.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::store::disk::{Contents, read};

/// Keeps the last word.
#[derive(Default)]
struct Word(Vec<u8>);

impl Mirror for Word {
    type News = Vec<u8>;

    fn absorb(&mut self, news: Self::News) {
        self.0 = news;
    }

    fn write(&self, out: &mut Frames<'_>) -> io::Result<()> {
        out.put(&self.0)
    }
}

fn clock() -> Now {
    Now { wall: SystemTime::UNIX_EPOCH, boot: None }
}

fn start(dir: &Path) -> (Keeper, Outbox<Vec<u8>>, DiskMetrics) {
    let metrics = DiskMetrics::default();
    let (keeper, outbox) =
        Keeper::start(Directory::new(dir), Word::default(), clock, metrics.clone()).unwrap();
    (keeper, outbox, metrics)
}

/// What is on disk.
fn saved(dir: &Path) -> Option<Vec<u8>> {
    let bytes = Directory::new(dir).read().unwrap()?;
    let Contents { frames, fault, .. } = read(&bytes);
    assert_eq!(fault, None);
    Some(frames.concat())
}

#[tokio::test]
async fn the_last_word_is_on_disk_when_it_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("made/by/it");
    let (keeper, outbox, metrics) = start(&place);
    assert!(outbox.is_idle());
    for word in ["one", "two", "three"] {
        assert!(outbox.send(word.into()));
    }
    drop(outbox);
    keeper.ended().await;
    assert_eq!(saved(&place).unwrap(), b"three");
    assert_eq!((metrics.writes.get(), metrics.failures.get()), (3, 0));
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&place.join("last-known-good"))), (0o700, 0o600));
    assert!(!place.join("last-known-good.unfinished").exists());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_counted_and_what_was_there_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (keeper, outbox, _) = start(dir.path());
    outbox.send(b"good".to_vec());
    drop(outbox);
    keeper.ended().await;
    // A directory where the file is to be written: an error that root gets as well.
    fs::create_dir(dir.path().join("last-known-good.unfinished")).unwrap();
    let (keeper, outbox, metrics) = start(dir.path());
    outbox.send(b"lost".to_vec());
    drop(outbox);
    keeper.ended().await;
    assert_eq!(saved(dir.path()).unwrap(), b"good");
    // Tried with the news, and once more at the end.
    assert_eq!((metrics.writes.get(), metrics.failures.get()), (0, 2));
}

#[test]
fn a_directory_belongs_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Directory::new(dir.path()), Directory::new(dir.path()));
    one.claim().unwrap();
    one.claim().unwrap();
    let why = two.claim().unwrap_err().to_string();
    assert!(why.contains("another chandler") && why.contains(&dir.path().display().to_string()), "{why}");
    let stamp = clock().stamp("test");
    assert!(two.write(&stamp, |_| Ok(())).is_err());
    drop(one);
    two.write(&stamp, |_| Ok(())).unwrap();
}

#[test]
fn a_directory_that_somebody_removes_is_made_and_claimed_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("state");
    let (mut directory, stamp) = (Directory::new(&place), clock().stamp("test"));
    directory.write(&stamp, |out| out.put(b"one")).unwrap();
    fs::remove_dir_all(&place).unwrap();
    let why = directory.write(&stamp, |out| out.put(b"lost")).unwrap_err().to_string();
    assert!(why.contains("cannot write") && why.contains("last-known-good"), "{why}");
    directory.write(&stamp, |out| out.put(b"two")).unwrap();
    assert_eq!(saved(&place).unwrap(), b"two");
    assert!(Directory::new(&place).claim().is_err(), "it is ours again");
}

#[test]
fn what_is_in_the_way_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new(dir.path());
    assert!(directory.read().unwrap().is_none());
    for _ in 0..2 {
        fs::create_dir_all(dir.path().join("last-known-good/full")).unwrap();
        assert!(directory.read().is_err());
        let to = directory.set_aside("unreadable").unwrap();
        assert_eq!(to, dir.path().join("last-known-good.unreadable"));
        assert!(to.join("full").exists() && directory.read().unwrap().is_none());
    }
}

#[test]
fn what_fails_in_the_middle_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (mut directory, stamp) = (Directory::new(dir.path()), clock().stamp("test"));
    directory.write(&stamp, |out| out.put(b"good")).unwrap();
    let full = |out: &mut Frames<'_>| {
        out.put(b"half")?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    };
    assert!(directory.write(&stamp, full).is_err());
    assert_eq!(saved(dir.path()).unwrap(), b"good");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the lock and the state");
}
