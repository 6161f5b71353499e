//! Who is let in, and what may be read.

use chandler::registry::zookeeper::{Login, Tls};
use chandler::security::secret::{Secret, SecretText};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use zookeeper_client as zk;

use crate::support::{ZooKeeper, free_port};
use crate::world::{PERSISTENT, Watches, World, Writer, provider, settings};

fn password(text: &str) -> Secret {
    Secret::Text(SecretText::new(text))
}

fn ours() -> [zk::Acl; 1] {
    [zk::Acl::new(zk::Permission::ALL, zk::AuthId::authed())]
}

fn everyones() -> [zk::Acl; 1] {
    [zk::Acl::new(zk::Permission::ALL, zk::AuthId::anyone())]
}

#[tokio::test]
async fn what_may_not_be_read_is_named_and_its_neighbours_are_untouched() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.0.auth("digest", b"me:pw").await.unwrap();
    writer.put(&provider("a.A", "10.0.0.1:1", ""), "", &PERSISTENT).await;
    writer.put(&provider("a.Secret", "10.0.0.1:1", ""), "", &PERSISTENT).await;
    let mut world = World::of(&server, Watches::Recursive).await;
    assert_eq!(world.services.len(), 2);

    writer.0.set_acl("/dubbo/a.Secret", &ours(), None).await.unwrap();
    let mut stranger = World::of(&server, Watches::Recursive).await;
    assert_eq!(stranger.services.keys().collect::<Vec<_>>(), ["/dubbo/a.A"]);
    stranger.until_it_says("may not be read, what was known of it stays: /dubbo/a.Secret").await;
    writer.put(&provider("a.B", "10.0.0.1:1", ""), "", &PERSISTENT).await;
    stranger.until("a neighbour", |w| w.services.contains_key("/dubbo/a.B")).await;
    world.until("the neighbour beside what was known", |w| w.services.len() == 3).await;

    let mut settings = settings(&[&server]);
    settings.connect.login = Login::Digest("me".into(), password("pw"));
    let mut friend = World::start(settings, Watches::Recursive);
    friend.until("all of it", |w| w.services.len() == 3).await;
    friend.until_well().await;
}

#[tokio::test]
async fn a_root_that_may_not_be_read_is_no_empty_one() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.0.auth("digest", b"me:pw").await.unwrap();
    writer.put(&provider("a.A", "10.0.0.1:1", ""), "", &PERSISTENT).await;
    writer.0.set_acl("/dubbo", &ours(), None).await.unwrap();
    let mut world = World::start(settings(&[&server]), Watches::Recursive);
    world.until_it_says("/dubbo may not be read: give us the right").await;
    assert_eq!(world.resets, 0);
    writer.0.set_acl("/dubbo", &everyones(), None).await.unwrap();
    world.until("the first read", |w| w.resets == 1 && w.services.len() == 1).await;
}

#[tokio::test]
async fn a_server_that_asks_for_sasl_gets_it() {
    needs!(ZooKeeper);
    let dir = tempfile::tempdir().unwrap();
    let jaas = dir.path().join("jaas");
    let text = "Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_me=\"pw\"; };";
    std::fs::write(&jaas, text).unwrap();
    let server = ZooKeeper::build()
        .line("authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider")
        .line("sessionRequireClientSASLAuth=true")
        .option(&format!("-Djava.security.auth.login.config={}", jaas.display()))
        .start()
        .await;
    let with = |login: Login| {
        let mut settings = settings(&[&server]);
        settings.connect.login = login;
        World::start(settings, Watches::Recursive)
    };
    let mut known = with(Login::Sasl("me".into(), password("pw")));
    known.until("a read", |w| w.resets == 1).await;
    let wrong = with(Login::Sasl("me".into(), password("no")));
    wrong.until_it_says("no session with").await;
    assert!(!wrong.how().problem.unwrap_or_default().contains("no,"), "no password is shown");
}

#[tokio::test]
async fn tls_is_spoken_with_those_whom_the_file_trusts() {
    needs!(ZooKeeper);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let cert = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        (cert.pem(), key.serialize_pem())
    };
    let (cert, key) = issue("127.0.0.1");
    std::fs::write(file("server.pem"), format!("{key}{cert}")).unwrap();
    std::fs::write(file("ca.pem"), ca.pem()).unwrap();
    let (cert, key) = issue("chandler");
    std::fs::write(file("client.pem"), cert).unwrap();
    std::fs::write(file("client.key"), key).unwrap();
    let port = free_port();
    let server = ZooKeeper::build()
        .line("serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory")
        .line(&format!("secureClientPort={port}\nsecureClientPortAddress=127.0.0.1"))
        .line(&format!("ssl.keyStore.location={}", file("server.pem").display()))
        .line(&format!("ssl.trustStore.location={}", file("ca.pem").display()))
        .line("ssl.clientAuth=need")
        .start()
        .await;
    let with = |ca: &str| {
        let mut settings = settings(&[&server]);
        settings.connect.servers = vec![format!("127.0.0.1:{port}")];
        let identity = Some((file("client.pem"), file("client.key")));
        settings.connect.tls = Some(Tls { ca: file(ca), identity });
        World::start(settings, Watches::Recursive)
    };
    let mut trusted = with("ca.pem");
    trusted.until("a read", |w| w.resets == 1).await;
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let other = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(file("other.pem"), other.pem()).unwrap();
    let stranger = with("other.pem");
    stranger.until_it_says("with TLS that `caFile` trusts").await;
    let missing = with("missing.pem");
    missing.until_it_says("missing.pem").await;
}
