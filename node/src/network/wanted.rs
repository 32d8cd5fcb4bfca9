//! The addresses that the user asked for, and how it goes with each: what `klatch peer list` tells;
//! and what it means that the user wants one no longer. Whom to dial and when is the dialer's
//! business.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use klatch_core::ids::Peer;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId, TransportError};

use super::settings::CONFIGURED_MAX;
use super::task::{Task, root_cause};
use super::{Unwanted, address, id_of, peer_of};

/// An address that was asked for, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedStatus {
    /// Without `/p2p`.
    pub address: Multiaddr,
    /// A link to whoever answers there.
    pub linked: bool,
    /// Dials that failed since the last link, or since it was asked for.
    pub failures: u32,
    /// Why the last of them failed, in words.
    pub error: Option<String>,
    /// How long ago that was.
    pub failed_ago: Option<Duration>,
    /// When it is dialled again.
    pub next_in: Option<Duration>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    all: BTreeMap<Multiaddr, Tried>,
}

#[derive(Debug, Default)]
struct Tried {
    failures: u32,
    /// When, and why.
    last: Option<(u64, String)>,
}

impl Wanted {
    /// The user asks for an address. `false`: so many are looked for already.
    pub(super) fn add(&mut self, address: Multiaddr) -> bool {
        let taken = self.all.len() < CONFIGURED_MAX || self.all.contains_key(&address);
        if taken {
            self.all.entry(address).or_default();
        }
        taken
    }

    /// The user does not want it any more; `false` if it was not wanted.
    pub(super) fn forget(&mut self, address: &Multiaddr) -> bool {
        self.all.remove(address).is_some()
    }

    /// A dial of these addresses failed.
    pub(super) fn failed(&mut self, addresses: &[Multiaddr], error: &DialError, now_ms: u64) {
        for address in addresses {
            if let Some(tried) = self.all.get_mut(address) {
                tried.failures = tried.failures.saturating_add(1);
                tried.last = Some((now_ms, words(address, error)));
            }
        }
    }

    /// Somebody answered there.
    pub(super) fn reached(&mut self, address: &Multiaddr) {
        if let Some(tried) = self.all.get_mut(address) {
            *tried = Tried::default();
        }
    }

    /// The list. `now` tells whether an address is linked, and when it is dialled next.
    pub(super) fn list(
        &self,
        now_ms: u64,
        now: impl Fn(&Multiaddr) -> (bool, Option<u64>),
    ) -> Vec<WantedStatus> {
        let one = |(address, tried): (&Multiaddr, &Tried)| {
            let (linked, next_ms) = now(address);
            let since = |at: u64| Duration::from_millis(now_ms.saturating_sub(at));
            WantedStatus {
                address: address.clone(),
                linked,
                failures: tried.failures,
                error: tried.last.as_ref().map(|(_, error)| error.clone()),
                failed_ago: tried.last.as_ref().map(|(at, _)| since(*at)),
                next_in: next_ms
                    .filter(|_| !linked)
                    .map(|at| Duration::from_millis(at.saturating_sub(now_ms))),
            }
        };
        self.all.iter().map(one).collect()
    }
}

impl Task {
    /// Looks there no longer. Whom that concerns, and whether anybody was looked for at all.
    pub(super) fn unwant(&mut self, whom: Unwanted) -> (Vec<Peer>, bool) {
        let mut peers: BTreeSet<PeerId> = BTreeSet::new();
        let mut sought = false;
        match whom {
            Unwanted::Peer(peer) => {
                peers.extend(id_of(&peer));
                for address in peers.iter().flat_map(|peer| self.dialer.addresses_of(peer)) {
                    sought |= self.wanted.forget(&address);
                }
            }
            Unwanted::Address(address) => {
                let (named, bare) = address::split_peer(address);
                let linked = self.links.iter().filter(|(_, link)| link.is_at(&bare));
                peers.extend(linked.map(|(peer, _)| *peer).chain(named));
                peers.extend(self.dialer.peers_at(&bare));
                sought |= self.wanted.forget(&bare);
                sought |= self.dialer.unwant(&bare);
            }
        }
        for peer in &peers {
            sought |=
                self.dialer.unwant_peer(*peer, |address| self.wanted.all.contains_key(address));
        }
        (peers.iter().map(peer_of).collect(), sought)
    }
}

/// Why a dial failed, as far as a person can do something about it.
fn words(address: &Multiaddr, error: &DialError) -> String {
    let cause = match error {
        DialError::LocalPeerId { .. } => return "that is this node itself".to_owned(),
        DialError::WrongPeerId { .. } => return "another node answers there".to_owned(),
        DialError::Transport(list) => {
            match list.iter().find(|(a, _)| a == address).or(list.first()) {
                Some((_, TransportError::MultiaddrNotSupported(_))) => {
                    return "this kind of address is switched off".to_owned();
                }
                Some((_, TransportError::Other(cause))) => root_cause(cause),
                None => error.to_string(),
            }
        }
        _ => error.to_string(),
    };
    let lower = cause.to_lowercase();
    let known = [
        ("refused", "refused: nobody listens on that port"),
        ("timed out", "no answer"),
        ("timeout", "no answer"),
        ("unreachable", "no route there"),
    ];
    known.iter().find(|(part, _)| lower.contains(part)).map_or(cause, |(_, w)| (*w).to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::super::address::loopback_tcp;
    use super::*;

    fn refused(address: &Multiaddr) -> DialError {
        let cause = TransportError::Other(Error::from(ErrorKind::ConnectionRefused));
        DialError::Transport(vec![(address.clone(), cause)])
    }

    #[test]
    fn each_wanted_address_tells_why_it_failed_and_when_it_is_tried_again() {
        let (mut wanted, there) = (Wanted::default(), loopback_tcp(9));
        wanted.add(there.clone());
        wanted.failed(&[there.clone(), loopback_tcp(10)], &refused(&there), 1_000);
        wanted.failed(std::slice::from_ref(&there), &refused(&there), 3_000);
        let list = wanted.list(8_000, |_| (false, Some(9_500)));
        assert_eq!(list.len(), 1, "only what was asked for");
        assert_eq!((list[0].failures, list[0].linked), (2, false));
        assert_eq!(list[0].error.as_deref(), Some("refused: nobody listens on that port"));
        assert_eq!(list[0].failed_ago, Some(Duration::from_secs(5)));
        assert_eq!(list[0].next_in, Some(Duration::from_millis(1_500)));
        wanted.reached(&there);
        let list = wanted.list(8_000, |_| (true, Some(9_500)));
        assert_eq!((list[0].failures, &list[0].error, list[0].next_in), (0, &None, None));
        wanted.forget(&there);
        assert!(wanted.list(8_000, |_| (false, None)).is_empty());
    }

    #[test]
    fn ten_thousand_wanted_addresses_do_not_fill_the_memory() {
        let mut wanted = Wanted::default();
        let taken = (1..=10_000).filter(|port| wanted.add(loopback_tcp(*port))).count();
        assert_eq!((taken, wanted.all.len()), (CONFIGURED_MAX, CONFIGURED_MAX));
        assert!(wanted.add(loopback_tcp(1)), "what is looked for can be asked for again");
    }
}
