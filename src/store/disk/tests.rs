//! What a file is, and what becomes of one that is damaged.

use proptest::prelude::*;

use super::*;

fn stamp() -> Stamp {
    Stamp { wall_millis: 7, boot: "b".into(), uptime_millis: 1, program: "test".into() }
}

fn file(frames: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Frames::begin(&mut out, &stamp()).unwrap();
    frames.iter().for_each(|frame| writer.put(frame).unwrap());
    let size = writer.end().unwrap();
    assert_eq!(size, out.len() as u64);
    out
}

#[test]
fn what_was_written_is_read() {
    let bytes = file(&[b"one", b"two", b"three"]);
    let contents = read(&bytes);
    assert_eq!(contents.stamp, Some(stamp()));
    assert_eq!((contents.frames, contents.fault), (vec![&b"one"[..], b"two", b"three"], None));
    assert_eq!(read(&file(&[])).fault, None);
}

#[test]
fn a_file_that_was_cut_keeps_its_whole_frames_and_says_so() {
    let bytes = file(&[b"one", b"two"]);
    for end in 0..bytes.len() {
        let contents = read(&bytes[..end]);
        assert!(contents.fault.is_some(), "{end}");
        assert!([&b"one"[..], b"two"].starts_with(&contents.frames), "{end}");
    }
}

#[test]
fn a_bit_that_flipped_costs_its_frame_and_no_other() {
    let frames: [&[u8]; 3] = [b"one", b"two", b"three"];
    let bytes = file(&frames);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let contents = read(&bytes);
        assert!(contents.fault.is_some(), "{bit}");
        assert!(contents.frames.iter().all(|frame| frames.contains(frame)), "{bit}");
        // In a frame's own bytes: the others are there.
        let in_body = contents.fault.as_ref().is_some_and(|f| matches!(f, Fault::Damaged(1, _)));
        assert!(!in_body || contents.frames.len() + usize::from(contents.stamp.is_none()) >= 2, "{bit}");
    }
}

#[test]
fn another_format_is_told_from_garbage() {
    let mut newer = file(&[b"one"]);
    newer[8] = 2;
    assert_eq!(read(&newer).fault, Some(Fault::Format(2)));
    for garbage in [&b""[..], b"chand", b"services: []\n", &[0; 4096]] {
        assert_eq!(read(garbage).fault, Some(Fault::NotOurs));
    }
}

#[test]
fn frames_that_changed_places_are_damaged() {
    let (one, two) = (file(&[b"one", b"two"]), file(&[b"two", b"one"]));
    let body = |bytes: &[u8]| bytes[bytes.len() - 12 - 2 * 15..bytes.len() - 12].to_vec();
    let mut swapped = one.clone();
    let at = one.len() - 12 - 2 * 15;
    // The frames of the one in the order of the other, their checksums with them.
    let (first, second) = (body(&one)[..15].to_vec(), body(&one)[15..].to_vec());
    swapped[at..at + 15].copy_from_slice(&second);
    swapped[at + 15..at + 30].copy_from_slice(&first);
    assert_ne!(swapped, two);
    assert!(matches!(read(&swapped).fault, Some(Fault::Damaged(2, _))));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _any = read(&bytes);
        let mut ours = MAGIC.to_vec();
        ours.extend(FORMAT.to_le_bytes());
        ours.extend(bytes);
        let _any = read(&ours);
    }
}
