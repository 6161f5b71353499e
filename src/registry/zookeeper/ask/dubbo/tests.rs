use tokio::io::{AsyncReadExt, duplex};

use super::*;

/// What Dubbo 3.3.6 answered.
const REAL: &[u8] = include_bytes!("../golden/dubbo-3.3.6.bin");
const GREET: &str = "greet.GreetService";

/// A frame with these flags, this status and this body.
fn frame(flags: u8, status: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&MAGIC[..], &[flags, status], &ID.to_be_bytes(), &length, body].concat()
}

/// What comes of it where a provider answers so.
async fn answered(bytes: &[u8]) -> Result<Metadata, String> {
    let (near, mut far) = duplex(1 << 20);
    let request = request("app", "1.0.0", "r1");
    let answer = async {
        let mut asked = vec![0; request.len()];
        far.read_exact(&mut asked).await.unwrap();
        far.write_all(bytes).await.unwrap();
        drop(far);
    };
    tokio::join!(call(near, &request), answer).0
}

#[test]
fn a_request_names_the_service_its_group_and_version_and_the_revision() {
    let frame = request("app", "1.0.0", "r1");
    assert_eq!(frame[..4], [0xda, 0xbb, 0xc2, 0]);
    assert_eq!(frame[12..HEADER], u32::try_from(frame.len() - HEADER).unwrap().to_be_bytes());
    let mut reader = Reader::new(&frame[HEADER..]);
    let texts: Vec<Value> = (0..6).map(|_| reader.value().unwrap()).collect();
    let want = ["2.0.2", METADATA_SERVICE, "1.0.0", "getMetadataInfo", "Ljava/lang/String;", "r1"];
    assert_eq!(texts, want.map(|text| Value::Text(text.into())));
    let more = reader.value().unwrap();
    assert_eq!(reader.heap.get(&more, "group").and_then(Value::text), Some("app"));
    assert_eq!(reader.heap.get(&more, "interface").and_then(Value::text), Some(METADATA_SERVICE));
}

#[tokio::test]
async fn what_a_real_provider_answered_is_read() {
    let metadata = answered(REAL).await.unwrap();
    let [plain, gray] = metadata.of(GREET) else { panic!("{metadata:?}") };
    assert_eq!((plain.group.as_deref(), plain.port, &*plain.protocol), (None, Some(42700), "dubbo"));
    assert_eq!(plain.params.get("weight"), Some("150"));
    assert_eq!((gray.group.as_deref(), gray.version.as_deref()), (Some("gray"), Some("1.0.0")));
    assert_eq!(gray.params.get("dubbo.tag"), Some("gray"));
    let heartbeat = frame(0xe2, 0, b"N");
    assert_eq!(
        answered(&[&heartbeat, REAL].concat()).await.unwrap(),
        metadata,
        "what comes before it is no answer"
    );
}

#[tokio::test]
async fn every_cut_and_every_changed_byte_is_an_answer_or_a_reason() {
    for end in 0..REAL.len() {
        assert!(answered(&REAL[..end]).await.is_err(), "{end}");
    }
    for at in 0..REAL.len() {
        for bit in 0..8 {
            let mut bytes = REAL.to_vec();
            bytes[at] ^= 1 << bit;
            if let Err(why) = answered(&bytes).await {
                assert!(!why.is_empty() && why.len() < 300, "{why}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_none_has_a_reason() {
    let mut thrown = vec![0x93];
    thrown.extend(b"C\x09java.X.Ex\x91\x0ddetailMessage\x60\x0dno such\nthing");
    let mut large = frame(2, OK, b"");
    large[12..16].copy_from_slice(&100_000_000_u32.to_be_bytes());
    for (bytes, words) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "does not speak Dubbo's protocol"),
        (large, "answers with 100000000 bytes"),
        (frame(2, OK, b"\x92"), "does not know the revision"),
        (frame(2, OK, b"\x95H\x01a\x01bZ"), "does not know the revision"),
        (frame(2, OK, b"\x91N"), "does not know the revision"),
        (frame(2, OK, b"\x91T"), "no MetadataInfo"),
        (frame(2, OK, &thrown), "throws an exception: no such"),
        (frame(2, 100, b"\x05wrong"), "status 100: wrong"),
        (frame(2, OK, b"\x97"), "its answer is none"),
        (frame(2, OK, b"\xff"), "no hessian2"),
        (frame(21, OK, b"\x91"), "serialization 21"),
        (frame(0x22, OK, b"N").repeat(5), "other things than an answer"),
        (frame(2, OK, b"")[..15].to_vec(), "the connection broke"),
    ] {
        let why = answered(&bytes).await.unwrap_err();
        assert!(why.contains(words), "{words}: {why}");
    }
}
