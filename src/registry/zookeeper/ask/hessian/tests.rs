use proptest::prelude::*;

use super::*;

fn one(bytes: &[u8]) -> Result<Value, HessianError> {
    Reader::new(bytes).value()
}

#[test]
fn every_form_of_a_number_is_read() {
    for (bytes, want) in [
        (&[0x90][..], 0),
        (&[0x80], -16),
        (&[0xbf], 47),
        (&[0xc8, 0x00], 0),
        (&[0xc0, 0x00], -2048),
        (&[0xcf, 0xff], 2047),
        (&[0xd4, 0x00, 0x00], 0),
        (&[0xd0, 0x00, 0x00], -262_144),
        (&[b'I', 0xff, 0xff, 0xff, 0xff], -1),
        (&[b'I', 0x00, 0x00, 0x7f, 0xbc], 32700),
        (&[0xe0], 0),
        (&[0xd8], -8),
        (&[0xf8, 0x01], 1),
        (&[0x3c, 0x01, 0x00], 256),
        (&[b'Y', 0, 0, 0, 7], 7),
        (&[b'L', 0, 0, 0, 0, 0, 0, 1, 0], 256),
    ] {
        assert_eq!(one(bytes), Ok(Value::Int(want)), "{bytes:x?}");
    }
}

#[test]
fn texts_are_read_in_every_length_and_in_pieces() {
    assert_eq!(one(b"\x00"), Ok(Value::Text(String::new())));
    assert_eq!(one(b"\x05hello"), Ok(Value::Text("hello".into())));
    assert_eq!(one(b"\x30\x05hello"), Ok(Value::Text("hello".into())));
    assert_eq!(one(b"S\x00\x05hello"), Ok(Value::Text("hello".into())));
    assert_eq!(one(b"R\x00\x02heS\x00\x03llo"), Ok(Value::Text("hello".into())));
    assert_eq!(one(b"R\x00\x02he\x03llo"), Ok(Value::Text("hello".into())));
    // U+1F600 as a pair of three bytes each, which counts two, and as four bytes, which some count as one.
    assert_eq!(one(b"\x02\xed\xa0\xbd\xed\xb8\x80"), Ok(Value::Text("\u{1f600}".into())));
    assert_eq!(one(b"\x01\xf0\x9f\x98\x80"), Ok(Value::Text("\u{1f600}".into())));
    assert_eq!(one(b"\x01\xed\xa0\xbd"), Ok(Value::Text("\u{fffd}".into())), "half a pair");
}

#[test]
fn objects_maps_lists_and_references_are_read() {
    // {a: P(name: x, more: {k: v}), b: {}, c: the same map as in a, d: [true], e: data, f: a date}
    let mut bytes = Vec::from(*b"H\x01a");
    bytes.extend(b"C\x01P\x92\x04name\x04more\x60\x01xM\x01T\x01k\x01vZ");
    bytes.extend(b"\x01bM\x90Z\x01cQ\x92\x01dV\x01L\x92\x91T\x01e\x23abc\x01f\x4a\0\0\0\0\0\0\0\0Z");
    let mut reader = Reader::new(&bytes);
    let top = reader.value().unwrap();
    let get = |value: &Value, name: &str| reader.heap.get(value, name).cloned().unwrap();
    let p = get(&top, "a");
    assert_eq!(get(&p, "name"), Value::Text("x".into()));
    assert_eq!(get(&get(&p, "more"), "k"), Value::Text("v".into()));
    assert_eq!(get(&top, "c"), get(&p, "more"), "the third compound of all");
    assert!(reader.heap.entries(&get(&top, "b")).is_empty());
    assert_eq!((get(&top, "e"), get(&top, "f")), (Value::Skipped, Value::Skipped));
    assert_eq!(reader.heap.get(&p, "other"), None);
}

#[test]
fn what_is_no_value_is_refused() {
    for (bytes, want) in [
        (&b""[..], HessianError::Short),
        (b"\x05hell", HessianError::Short),
        (b"S\xff\xffx", HessianError::Short),
        (b"X\x49\x7f\xff\xff\xff", HessianError::Short),
        (b"C\x01P\x49\x7f\xff\xff\xff", HessianError::Short),
        (b"X\x80", HessianError::Kind),
        (b"X\x01a", HessianError::Kind),
        (b"R\x00\x01aT", HessianError::Kind),
        (b"\x60", HessianError::Reference),
        (b"O\x80", HessianError::Reference),
        (b"Q\x90", HessianError::Reference),
        (b"M\x90Z", HessianError::Reference),
        (b"Z", HessianError::Tag(b'Z')),
        (b"\x45", HessianError::Tag(0x45)),
        (b"\x01\xff", HessianError::Tag(0xff)),
    ] {
        assert_eq!(one(bytes), Err(want), "{bytes:x?}");
    }
}

#[test]
fn depth_and_number_are_bounded() {
    assert_eq!(one(&vec![b'W'; 1000]), Err(HessianError::Bounds));
    assert_eq!(one(&b"C\x00\x90".repeat(1000)), Err(HessianError::Bounds));
    let mut many = vec![b'N'; VALUES + 1];
    many.insert(0, b'W');
    assert_eq!(one(&many), Err(HessianError::Bounds));
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(text in any::<String>(), times in 0_usize..3) {
        let text = text.repeat(times * times * 40_000 / (text.len().max(1)) + 1);
        let mut out = Vec::new();
        write_text(&mut out, &text);
        write_map(&mut out, &[("k", &text)]);
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.value().unwrap(), Value::Text(text.clone()));
        let map = reader.value().unwrap();
        prop_assert_eq!(reader.heap.get(&map, "k"), Some(&Value::Text(text)));
    }

    #[test]
    fn whatever_arrives_nothing_panics(bytes in proptest::collection::vec(
        prop_oneof![any::<u8>(), proptest::sample::select(b"CMHOQUVWXZRSAB\x60\x61\x90\x91\x92\x01\x02".to_vec())], 0..200))
    {
        let mut reader = Reader::new(&bytes);
        if let Ok(value) = reader.value() {
            reader.heap.get(&value, "x");
            reader.heap.entries(&value);
        }
    }
}
