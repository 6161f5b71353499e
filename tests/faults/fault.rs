//! What can go wrong with a registry: how it is brought about, what shows that it was, and how it ends.

use std::time::Duration;

use crate::inside::partition;
use crate::rig::{Late, Rig};
use crate::sites::{Kind, Site};
use crate::support::{PATIENCE, Way, eventually};

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Killed, and started again with its data. Files: the directory is away, as a volume that is not mounted.
    Killed,
    /// Killed, and started again without its data; then everybody registers again. Files: the directory is emptied.
    Emptied,
    /// The same, and it stays empty for longer than anything is held that is believed.
    EmptiedLong,
    /// Like [`Fault::Emptied`], and one instance is never seen again: it really has gone.
    Forgotten,
    /// It takes connections and says nothing.
    Hung,
    /// No packet passes.
    Partitioned,
    /// Connections are reset in the middle of answers.
    Reset,
    /// Answers end in their middle, in order. Files: each is cut in half, in place.
    Truncated,
    /// Answers are whole and make no sense: half of their body, with the length that half has. Files: each is blank.
    Halved,
    /// Answers that make sense and lack half of the services. Files: every other one is gone.
    Thinned,
    /// Chandler's rights to most services are taken away, and it reads on with what it has.
    Reduced,
    /// One byte a second.
    Slow,
    /// A page for people, or 500, or 429.
    Says(&'static str, &'static str),
    /// Connections are cut ten times a second. Files: the directory comes and goes ten times a second.
    Flapping,
    /// An instance comes and goes ten times a second.
    Restless,
    /// Chandler's token is revoked.
    Revoked,
    /// Chandler's session expires, and the world has changed when it has the next.
    Expired,
    /// The leader is killed, and comes back later.
    Leaderless,
    /// Two of three servers are killed, and come back later: there is no leader meanwhile.
    Headless,
}

pub(crate) const PAGE: Fault =
    Fault::Says("200 OK", "<!DOCTYPE html><html><body>Please log in</body></html>");
pub(crate) const ERROR: Fault = Fault::Says("500 Internal Server Error", "rpc error: everything is on fire");
pub(crate) const BUSY: Fault = Fault::Says("429 Too Many Requests", "rate limit exceeded");

/// What shows that the fault was more than an intention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// Chandler complains of the registry.
    Complaint,
    /// Chandler has read it and does not believe what it says.
    Disbelief,
    /// The proxy has spoilt something.
    Touched,
    /// Chandler says this of what is wrong.
    Says(&'static str),
    /// Nothing: it may go unnoticed.
    Nothing,
}

impl Fault {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed, restarted with data",
            Self::Emptied => "restarted empty",
            Self::EmptiedLong => "restarted empty, for 75 s",
            Self::Forgotten => "restarted empty, one never returns",
            Self::Hung => "hung and resumed",
            Self::Partitioned => "partitioned and healed",
            Self::Reset => "reset in mid-answer",
            Self::Truncated => "truncated answers",
            Self::Halved => "halves of answers",
            Self::Thinned => "partial answers",
            Self::Slow => "slow, 1 byte/s",
            Self::Says(status, _) => match status.as_bytes() {
                [b'2', ..] => "answers HTML",
                [b'4', ..] => "answers 429",
                _ => "answers 500",
            },
            Self::Flapping => "flapping 10 times a second",
            Self::Restless => "an instance flapping 10 times a second",
            Self::Revoked => "token revoked",
            Self::Expired => "session expired",
            Self::Reduced => "rights to most services lost",
            Self::Leaderless => "leader lost",
            Self::Headless => "no leader, two of three lost",
        }
    }

    /// Whether instances can still come and go at the registry itself.
    pub(crate) const fn registry_works(self) -> bool {
        !matches!(
            self,
            Self::Killed | Self::Emptied | Self::EmptiedLong | Self::Forgotten | Self::Hung | Self::Headless
        )
    }

    const fn evidence(self, kind: Kind) -> Evidence {
        match (self, kind) {
            // A query that waits for news does not miss them; a new leader is there before anybody complains.
            (
                Self::Hung | Self::Partitioned | Self::Leaderless | Self::Headless,
                Kind::Consul | Kind::Consuls | Kind::SharedConsul,
            ) => Evidence::Nothing,
            (Self::Reduced, Kind::Consul) => Evidence::Says("for want of rights"),
            (Self::Reduced, _) => Evidence::Says("may not be read"),
            (Self::Restless | Self::Leaderless, _) => Evidence::Nothing,
            (Self::Flapping, Kind::Files) => Evidence::Nothing,
            (Self::Emptied | Self::EmptiedLong | Self::Forgotten, _) => Evidence::Disbelief,
            (_, Kind::Files) => Evidence::Complaint,
            (
                Self::Reset | Self::Truncated | Self::Halved | Self::Slow | Self::Thinned | Self::Says(..),
                _,
            ) => Evidence::Touched,
            (Self::Flapping, _) => Evidence::Touched,
            _ => Evidence::Complaint,
        }
    }

    /// Brings it about and waits until that shows; afterwards it lasts for `time`, in which nothing may be lost. Then it is over.
    pub(crate) async fn happen(self, rig: &mut Rig, kind: Kind, time: Duration) -> Result<(), Late> {
        let before = rig.site(kind).touched();
        let lost_leader = self.begin(rig.site(kind)).await;
        if self.registry_works() {
            rig.change(kind).await;
        }
        match self.evidence(kind) {
            Evidence::Complaint => rig.noticed(kind).await?,
            Evidence::Disbelief => rig.disbelieved(kind).await?,
            Evidence::Touched => rig.touched(kind, before).await?,
            Evidence::Says(words) => rig.says(kind, words).await?,
            Evidence::Nothing => {}
        }
        // That nothing is lost can only be seen by looking on for a while.
        match self {
            Self::Flapping | Self::Restless => self.flap(rig, kind, time).await,
            // `removalHold` is a minute by default.
            Self::EmptiedLong => tokio::time::sleep(Duration::from_secs(75)).await,
            _ => tokio::time::sleep(time).await,
        }
        if self == Self::Expired {
            rig.site(kind).zookeeper().expired().await;
        }
        if self == Self::Forgotten {
            let gone = rig.site(kind).lose_one();
            rig.ledger.leaving(&gone);
        }
        self.end(rig.site(kind), lost_leader).await;
        self.aftermath(rig, kind).await
    }

    /// Who deregisters before he has been seen again cannot be told from one who has not come back: what is done next waits.
    pub(crate) async fn aftermath(self, rig: &Rig, kind: Kind) -> Result<(), Late> {
        let works = self.registry_works() && self != Self::Reduced;
        if works || self == Self::Forgotten { Ok(()) } else { rig.believed(kind).await }
    }

    pub(crate) async fn begin(self, site: &mut Site) -> Option<usize> {
        if site.kind == Kind::Files {
            self.begin_with_files(site);
            return None;
        }
        match self {
            Self::Killed => site.kill().await,
            Self::Emptied | Self::EmptiedLong | Self::Forgotten => {
                site.kill().await;
                site.start_again(false).await;
            }
            Self::Hung => site.signal("STOP").await,
            Self::Partitioned | Self::Expired => {
                for proxy in site.proxies() {
                    partition(proxy.address().port(), true).await;
                }
            }
            // Past the head of an answer and into its body.
            Self::Reset => site.turn(&Way::ResetAfter(150)),
            Self::Truncated => site.turn(&Way::EndAfter(150)),
            Self::Halved => site.turn(&Way::Edit(|_, body| body[..body.len() / 2].to_vec())),
            Self::Thinned => site.turn(&Way::Edit(thinned)),
            Self::Slow => site.turn(&Way::Slow(1)),
            Self::Says(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                site.turn(&Way::Say([head.as_bytes(), body.as_bytes()].concat().into()));
            }
            Self::Flapping => site.turn(&Way::Reset),
            Self::Restless => {}
            Self::Revoked => site.consul().revoke().await,
            Self::Reduced => rights(site, true).await,
            Self::Headless => site.kill_most().await,
            Self::Leaderless if site.kind == Kind::Consuls => return Some(site.consul().lose_leader().await),
            Self::Leaderless => return Some(site.zookeeper().lose_leader().await),
        }
        None
    }

    pub(crate) async fn end(self, site: &mut Site, lost_leader: Option<usize>) {
        if site.kind == Kind::Files {
            return self.end_with_files(site);
        }
        match self {
            // A Eureka has no data but what its clients tell it again.
            Self::Killed => {
                site.start_again(true).await;
                if site.kind == Kind::Eureka {
                    site.register_again().await;
                }
            }
            Self::Emptied | Self::EmptiedLong | Self::Forgotten => site.register_again().await,
            Self::Hung => site.signal("CONT").await,
            Self::Partitioned | Self::Expired => {
                for proxy in site.proxies() {
                    partition(proxy.address().port(), false).await;
                }
            }
            Self::Revoked => site.consul().grant_again().await,
            Self::Reduced => rights(site, false).await,
            Self::Headless => site.start_most_again().await,
            Self::Leaderless => {
                let leader = lost_leader.expect("it was remembered");
                if site.kind == Kind::Consuls {
                    site.consul().servers[leader].start_again().await;
                } else {
                    site.zookeeper().servers[leader].start_again(true).await;
                }
            }
            Self::Restless => {}
            _ => site.turn(&Way::Pass),
        }
    }

    fn begin_with_files(self, site: &mut Site) {
        let files = site.files();
        match self {
            Self::Killed => std::fs::rename(files.dir(), files.elsewhere()).expect("a rename"),
            Self::Emptied | Self::EmptiedLong | Self::Forgotten => {
                files.all().for_each(|file| std::fs::remove_file(file).expect("a file less"))
            }
            Self::Truncated => files.all().for_each(|file| {
                let text = std::fs::read(&file).expect("a file");
                std::fs::write(&file, &text[..text.len() / 2]).expect("half of it");
            }),
            Self::Halved => files.all().for_each(|file| std::fs::write(file, "").expect("a blank file")),
            Self::Thinned => {
                files.all().step_by(2).for_each(|file| std::fs::remove_file(file).expect("a file less"));
            }
            Self::Says(_, body) => files.all().for_each(|file| std::fs::write(file, body).expect("a page")),
            Self::Flapping | Self::Restless => {}
            _ => panic!("{self:?} is nothing that happens to files"),
        }
    }

    fn end_with_files(self, site: &mut Site) {
        let files = site.files();
        match self {
            Self::Killed => std::fs::rename(files.elsewhere(), files.dir()).expect("a rename"),
            Self::Flapping | Self::Restless => {}
            _ => files.write_all(site.present()),
        }
    }

    /// Ten times a second for `time`; it ends in order.
    pub(crate) async fn flap(self, rig: &mut Rig, kind: Kind, time: Duration) {
        let half = Duration::from_millis(50);
        let restless = kind.seat(crate::sites::MOVING, 250);
        for _ in 0..time.as_millis() / 100 {
            if self == Self::Restless {
                rig.ledger.arriving(&restless);
                rig.site(kind).add(&restless).await;
                tokio::time::sleep(half).await;
                rig.ledger.leaving(&restless);
                rig.site(kind).remove(&restless).await;
            } else if kind == Kind::Files {
                Self::Killed.begin_with_files(rig.site(kind));
                tokio::time::sleep(half).await;
                Self::Killed.end_with_files(rig.site(kind));
            } else {
                rig.site(kind).turn(&Way::Reset);
                tokio::time::sleep(half).await;
                rig.site(kind).turn(&Way::Pass);
            }
            tokio::time::sleep(half).await;
        }
    }
}

/// Whether Chandler may read the services that stay as they are.
async fn rights(site: &mut Site, reduced: bool) {
    match site.kind {
        Kind::Consul => site.consul().reduce(reduced).await,
        _ => {
            site.zookeeper().reduce(reduced).await;
            // Nobody is told of other rights: it reads everything again after a lost connection.
            let before = site.touched();
            site.turn(&Way::Reset);
            eventually("another connection", PATIENCE, async || (site.touched() > before).then_some(()))
                .await;
            site.turn(&Way::Pass);
        }
    }
}

/// A list of services of which every other is missing. What is not such a list stays.
fn thinned(path: &str, body: &[u8]) -> Vec<u8> {
    let Ok(mut page) = serde_json::from_slice::<serde_json::Value>(body) else { return body.to_vec() };
    let mut index = 0;
    let mut every_other = || {
        index += 1;
        index % 2 == 0
    };
    if path.starts_with("/v1/catalog/services") {
        if let Some(all) = page.as_object_mut() {
            all.retain(|_, _| every_other());
        }
    } else if path.starts_with("/eureka/apps")
        && let Some(all) = page["applications"]["application"].as_array_mut()
    {
        all.retain(|_| every_other());
    } else {
        return body.to_vec();
    }
    page.to_string().into_bytes()
}
