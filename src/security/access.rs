//! Rules of access: who may read what on one listener.
//!
//! The first rule that knows the peer decides, also against it; whom none knows is refused. Rules only look at facts of
//! the connection (`peer`). Files that rules name are kept up to date by themselves; one that is missing or wrong keeps
//! its last content, and where there never was one it lets nobody in.

mod galley;
mod pattern;
mod tokens;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use self::galley::AccessList;
pub use self::pattern::{DnsPattern, PatternError, SpiffePattern};
use self::tokens::Tokens;
use crate::resource::collection::Collection;
use crate::security::authorizer::{Authorizer, Denied};
use crate::security::kept::{Held, Keeper, Kept};
use crate::security::peer::{Identity, Peer};

/// One rule, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Whoever fulfils all conditions may read these collections, and no others.
    Grant {
        /// Never empty.
        from: Vec<Condition>,
        /// What they may read.
        collections: Collections,
    },
    /// A file in the format of Galley's access list.
    AccessList(PathBuf),
}

/// What a peer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It dials from here.
    Cidr(IpNet),
    /// Its certificate has such a URI.
    Spiffe(SpiffePattern),
    /// Its certificate has such a DNS name.
    Dns(DnsPattern),
    /// It sends one of the tokens in this file.
    TokenFile(PathBuf),
    /// Anybody.
    AnyPeer,
    /// It has a certificate that one of our authorities vouches for.
    AnyCertificate,
}

/// Collections, as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collections {
    /// `*`: also those that are added in later versions.
    All,
    /// These; none: whoever the rule knows is refused.
    These(BTreeSet<Collection>),
}

impl Collections {
    fn contains(&self, collection: Collection) -> bool {
        match self {
            Self::All => true,
            Self::These(some) => some.contains(&collection),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::These(some) if some.is_empty())
    }
}

/// The rules of one listener with the files that they name.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Loaded>,
    /// A rule asks for tokens.
    takes_tokens: bool,
    /// A rule asks for certificates.
    takes_certificates: bool,
}

#[derive(Debug)]
enum Loaded {
    Grant { from: Vec<Test>, collections: Collections },
    AccessList(Arc<Kept<AccessList>>),
}

#[derive(Debug)]
enum Test {
    Pure(Condition),
    Token(Arc<Kept<Tokens>>),
}

/// What the rule that knows a peer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict<'a> {
    May(&'a Collections),
    MayNothing,
}

impl Rules {
    /// Reads the files that `rules` name, which `keeper` looks after from then on. Waits for the disk. Files that cannot
    /// be used are no error: they let nobody in until they can, which the log says.
    #[must_use]
    pub fn load(rules: &[Rule], keeper: &Keeper) -> Arc<Self> {
        let conditions = || rules.iter().flat_map(Rule::conditions);
        let takes_tokens = conditions().any(|c| matches!(c, Condition::TokenFile(_)));
        let certificate =
            |c: &Condition| matches!(c, Condition::Spiffe(_) | Condition::Dns(_) | Condition::AnyCertificate);
        let lists = rules.iter().any(|rule| matches!(rule, Rule::AccessList(_)));
        let takes_certificates = lists || conditions().any(certificate);
        let rules = rules.iter().map(|rule| Loaded::of(rule, keeper)).collect();
        Arc::new(Self { rules, takes_tokens, takes_certificates })
    }

    fn verdict(&self, peer: &Peer) -> Option<Verdict<'_>> {
        self.rules.iter().find_map(|rule| rule.verdict(peer))
    }

    /// Words for somebody whom no rule knows.
    fn unknown(&self, peer: &Peer) -> Denied {
        let shown = !peer.identities.is_empty() || peer.token.is_some();
        let words = match (self.takes_certificates, self.takes_tokens) {
            _ if shown => {
                "what you show (certificate or token) is known here to nobody: see `access` of this listener"
            }
            (true, true) => "nothing is known of you: show a client certificate or a bearer token",
            (true, false) => "nothing is known of you: show a client certificate",
            (false, true) => "nothing is known of you: show a bearer token",
            (false, false) => "your address is not let in here: see `access` of this listener",
        };
        if peer.identities.is_empty() {
            Denied::Unauthenticated(words.into())
        } else {
            Denied::Forbidden(words.into())
        }
    }
}

impl Authorizer for Rules {
    fn admit(&self, peer: &Peer) -> Result<(), Denied> {
        match self.verdict(peer) {
            Some(Verdict::May(some)) if !some.is_empty() => Ok(()),
            Some(_) => {
                Err(Denied::Forbidden("you may read nothing here: see `access` of this listener".into()))
            }
            None => Err(self.unknown(peer)),
        }
    }

    fn authorize(&self, peer: &Peer, collection: Collection) -> Result<(), Denied> {
        match self.verdict(peer) {
            Some(Verdict::May(some)) if some.contains(collection) => Ok(()),
            Some(_) => Err(Denied::Forbidden(
                format!("you may not read {collection}: see `access` of this listener").into(),
            )),
            None => Err(self.unknown(peer)),
        }
    }
}

impl Rule {
    /// What it asks of a peer; a list asks by itself.
    fn conditions(&self) -> &[Condition] {
        match self {
            Self::Grant { from, .. } => from,
            Self::AccessList(_) => &[],
        }
    }
}

impl Loaded {
    fn of(rule: &Rule, keeper: &Keeper) -> Self {
        match rule {
            Rule::Grant { from, collections } => Self::Grant {
                from: from.iter().map(|condition| Test::of(condition, keeper)).collect(),
                collections: collections.clone(),
            },
            Rule::AccessList(file) => {
                Self::AccessList(watched("the access list", file, AccessList::read, keeper))
            }
        }
    }

    /// `None`: it does not know this peer.
    fn verdict(&self, peer: &Peer) -> Option<Verdict<'_>> {
        match self {
            Self::Grant { from, collections } => {
                // A rule about nobody in particular is no rule about everybody.
                let known = !from.is_empty() && from.iter().all(|test| test.holds(peer));
                known.then_some(Verdict::May(collections))
            }
            // A list that nobody has read could have refused anybody.
            Self::AccessList(kept) => match kept.get() {
                None => Some(Verdict::MayNothing),
                Some(list) => match list.knows(&peer.identities)? {
                    true => Some(Verdict::May(&Collections::All)),
                    false => Some(Verdict::MayNothing),
                },
            },
        }
    }
}

impl Test {
    fn of(condition: &Condition, keeper: &Keeper) -> Self {
        match condition {
            Condition::TokenFile(file) => {
                Self::Token(watched("the file of tokens", file, Tokens::read, keeper))
            }
            other => Self::Pure(other.clone()),
        }
    }

    fn holds(&self, peer: &Peer) -> bool {
        match self {
            Self::Token(kept) => {
                peer.token.as_ref().is_some_and(|token| kept.get().is_some_and(|known| known.contain(token)))
            }
            Self::Pure(condition) => condition.holds(peer),
        }
    }
}

impl Condition {
    fn holds(&self, peer: &Peer) -> bool {
        match self {
            Self::Cidr(net) => net.contains(&peer.address.ip().to_canonical()),
            Self::Spiffe(pattern) => {
                peer.identities.iter().any(|id| matches!(id, Identity::Uri(uri) if pattern.matches(uri)))
            }
            Self::Dns(pattern) => {
                peer.identities.iter().any(|id| matches!(id, Identity::Dns(name) if pattern.matches(name)))
            }
            Self::AnyPeer => true,
            Self::AnyCertificate => !peer.identities.is_empty(),
            // `Test` asks the file.
            Self::TokenFile(_) => false,
        }
    }
}

fn watched<T: Held>(
    what: &'static str,
    file: &std::path::Path,
    read: fn(&[u8]) -> Result<T, String>,
    keeper: &Keeper,
) -> Arc<Kept<T>> {
    let kept = Kept::of(what, vec![file.to_path_buf()], move |files| {
        let file = files.first().ok_or("there is no file")?;
        read(&file.bytes).map_err(|why| format!("{}: {why}", file.path.display()))
    });
    if let Some(why) = kept.problem() {
        tracing::error!(file = %file.display(), "{what} cannot be used, it lets nobody in until it can: {why}");
    }
    keeper.keep(kept)
}

#[cfg(test)]
mod tests;
