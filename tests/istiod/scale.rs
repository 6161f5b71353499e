//! Ten thousand services. Times are printed, not judged: the machine may be busy.

use std::fmt::Write as _;

use tokio::time::Instant;

use crate::support::{Age, Chandler, Istiod};
use crate::view::CALM;

const SERVICES: usize = 10_000;

/// Ten files of a thousand services of two endpoints.
fn files(port: u16) -> Vec<(String, String)> {
    let file = |f: usize| {
        let mut text = String::from("services:\n");
        for n in f * SERVICES / 10..(f + 1) * SERVICES / 10 {
            let (high, low) = (n / 250, n % 250);
            writeln!(
                text,
                "- {{name: s{n}, hosts: [s{n}.example.internal], ports: [{{number: 8080, protocol: HTTP}}], \
                 endpoints: [{{address: 10.1.{high}.{low}, port: {port}}}, {{address: 10.2.{high}.{low}}}]}}"
            )
            .expect("a string");
        }
        (format!("{f}.yaml"), text)
    };
    (0..10).map(file).collect()
}

both_ages!(ten_thousand_services_arrive);

async fn ten_thousand_services_arrive(age: Age) {
    let start = Instant::now();
    let builder =
        files(8080).iter().fold(Chandler::build(), |builder, (name, text)| builder.service_file(name, text));
    let mut chandler = builder.start().await;
    chandler.synced().await;
    eprintln!("chandler has read {SERVICES} services {:?} after its start", start.elapsed());
    let start = Instant::now();
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    eprintln!("{age:?} is ready with them after {:?}", start.elapsed());
    let held = istiod.configz().await;
    assert_eq!(held.iter().filter(|one| one["kind"] == "ServiceEntry").count(), SERVICES);
    assert_eq!(istiod.registryz().await.as_array().map(Vec::len), Some(SERVICES));
    istiod.settled(CALM).await;

    let start = Instant::now();
    for (name, text) in &files(8080)[..1] {
        let changed = text.replacen("10.2.0.7}", "10.3.0.7}", 1);
        assert_ne!(&changed, text);
        chandler.write_services(name, &changed);
    }
    istiod
        .endpoints_where("s7.example.internal", "one changed endpoint", |all| {
            all.iter().any(|one| one.address == "10.3.0.7")
        })
        .await;
    eprintln!("one endpoint's change is in {age:?} after {:?}", start.elapsed());
}
