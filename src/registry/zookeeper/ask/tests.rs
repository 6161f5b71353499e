use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

fn question(application: &str, targets: Vec<Target>) -> Question {
    let key = Key { application: application.into(), revision: "r1".into() };
    Question { key, report: format!("/dubbo/metadata/{application}/r1").into(), targets, is_missed: true }
}

fn target(port: u16) -> Target {
    Target {
        address: Address::parse("127.0.0.1").unwrap(),
        port,
        manner: Manner::Dubbo,
        version: "1.0.0".into(),
    }
}

/// A report that holds what `of` says for a path.
fn report(of: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static) -> Box<Peek> {
    Box::new(move |path| std::future::ready(Ok(of(path).map(|text| text.as_bytes().to_vec()))).boxed())
}

const SOMETHING: &str = r#"{"services":{"a.A:dubbo":{"name":"a.A","protocol":"dubbo"}}}"#;

#[tokio::test(start_paused = true)]
async fn the_report_is_asked_first_and_again_with_growing_pauses() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let peek = report(move |_| (count.fetch_add(1, Ordering::Relaxed) == 3).then_some(SOMETHING));
    let mut asker = Asker::default();
    asker.set(vec![question("app", Vec::new())]);
    assert!(asker.is_curious());
    let began = Instant::now();
    let mut at = Vec::new();
    let found = loop {
        let finding = asker.next(&*peek).await;
        at.push(began.elapsed().as_secs());
        match finding.outcome {
            Ok(metadata) => break metadata,
            Err(why) => assert_eq!(&*why, "no /dubbo/metadata/app/r1, and nobody to ask"),
        }
        assert!(!asker.is_curious(), "it has been asked");
    };
    assert_eq!(found.of("a.A").len(), 1);
    assert_eq!(at, [0, 1, 3, 7]);
    assert_eq!(asked.load(Ordering::Relaxed), 4, "and no more once it is answered");
    assert_eq!((pause(7), pause(u32::MAX)), (LONGEST_PAUSE, LONGEST_PAUSE));
}

#[tokio::test(start_paused = true)]
async fn who_never_answers_delays_nobody_who_was_not_asked() {
    // The system takes connections for it; nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let peek = report(|path| path.contains("/good").then_some(SOMETHING));
    let mut asker = Asker::default();
    let hanging = || (0..100).map(|n| question(&format!("hangs{n:03}"), vec![target(port)]));
    asker.set(hanging().collect());
    let began = Instant::now();
    let first = asker.next(&*peek).await;
    let why = first.outcome.unwrap_err();
    assert!(why.contains(&format!("127.0.0.1:{port}: no answer within 3 s")), "{why}");
    for _ in 1..100 {
        asker.next(&*peek).await;
    }
    assert_eq!(began.elapsed().as_secs(), 12, "32 at a time, each of them 3 s");
    // By now the first ones are being asked again, and the one that comes does not wait for them.
    asker.set(hanging().chain([question("good", Vec::new())]).collect());
    let began = Instant::now();
    while asker.next(&*peek).await.key.application != "good".into() {}
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn whoever_takes_a_call_and_never_answers_is_given_up_over_every_protocol() {
    // The system takes connections for the one; the other begins to speak HTTP/2 and says no more.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let polite = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = [silent.local_addr().unwrap().port(), polite.local_addr().unwrap().port()];
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = polite.accept().await {
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            open.push(stream);
        }
    });
    let manners = [Manner::Grpc, Manner::Triple, Manner::Dubbo];
    let all = manners.into_iter().flat_map(|manner| ports.map(|port| Target { manner, ..target(port) }));
    let questions = all.enumerate().map(|(n, one)| question(&format!("hangs{n}"), vec![one])).collect();
    let peek = report(|_| None);
    let mut asker = Asker::default();
    asker.set(questions);
    for _ in 0..6 {
        let finding = asker.next(&*peek).await;
        let why = finding.outcome.unwrap_err();
        assert!(why.ends_with("no answer within 3 s"), "{}: {why}", finding.key.application);
    }
}

#[tokio::test(start_paused = true)]
async fn another_instance_is_asked_each_time_and_nobody_once_it_is_of_no_use() {
    let peek = report(|_| None);
    let gone = || async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let ports = [gone().await, gone().await];
    let mut asker = Asker::default();
    asker.set(vec![question("app", ports.map(target).to_vec())]);
    for port in [ports[0], ports[1], ports[0]] {
        let why = asker.next(&*peek).await.outcome.unwrap_err();
        assert!(why.contains(&format!("127.0.0.1:{port}: no connection")), "{why}");
    }
    asker.set(Vec::new());
    assert!(asker.next(&*peek).now_or_never().is_none(), "nothing is left to ask");
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_named_and_an_instance_is_asked() {
    for (outcome, words) in [
        (Ok(Some(b"{".to_vec())), "it is no JSON, and nobody to ask"),
        (Err("it may not be read".to_owned()), "/dubbo/metadata/app/r1: it may not be read"),
    ] {
        let outcome = Mutex::new(Some(outcome));
        let peek: Box<Peek> = Box::new(move |_| {
            let once = outcome.lock().unwrap().take().unwrap();
            std::future::ready(once).boxed()
        });
        let mut asker = Asker::default();
        asker.set(vec![question("app", Vec::new())]);
        let why = asker.next(&*peek).await.outcome.unwrap_err();
        assert!(why.contains(words), "{why}");
    }
}
