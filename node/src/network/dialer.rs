//! Whom to dial and when. Pure: time is an argument, the swarm is told by the caller.
//!
//! A *target* is a peer (with its addresses) or a bare address whose peer is not known yet.
//! Back-off is kept per address, not per peer: however many peers a liar claims to live at one
//! address, that address sees a few dials a minute. A peer whose link was good and is lost is
//! dialled every two seconds for a while, over a dial that hangs too: a network that comes back says
//! so to nobody.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::settings::{
    ADDRESSES_PER_PEER_MAX, CONFIGURED_MAX, DIALS_MAX, DISCOVERED_MAX, LOST_PAUSE_MS,
    LOST_URGENT_MS, PEER_DIALS_MAX, PROVEN_MS, REDIAL_MS_MAX, REDIAL_MS_MIN,
};

/// Where an address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The user, the configuration or the address book: kept for ever.
    Configured,
    /// Where a lost peer was when it had dialled us: kept for as long as it is looked for.
    Lost,
    /// An address file on this machine: kept while the file is there.
    File,
    /// mDNS over IPv6: kept until it expires.
    MdnsSix,
    /// mDNS over IPv4, the same. Apart, so that many addresses of one kind, of which IPv6 gives each
    /// host several, do not keep out those of the other.
    Mdns,
}

/// A dial to begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) peer: Option<PeerId>,
    pub(super) addresses: Vec<Multiaddr>,
}

/// The list of targets.
#[derive(Debug)]
pub(super) struct Dialer {
    own: PeerId,
    /// In the order they were added: the address book comes last seen first.
    targets: BTreeMap<u64, Target>,
    next_target: u64,
    pauses: BTreeMap<Multiaddr, Pause>,
    linked: BTreeSet<PeerId>,
    dialling: BTreeMap<ConnectionId, (u64, Vec<Multiaddr>)>,
    /// Linked peers that are dialled once all the same: their links may be dead.
    doubted: BTreeSet<PeerId>,
    /// Peers lost lately, and until when they are looked for with urgency. A link that comes back
    /// leaves them here: it may live for a moment only.
    lost: BTreeMap<PeerId, u64>,
    jitter: u64,
}

#[derive(Debug)]
struct Target {
    peer: Option<PeerId>,
    /// Learnt from a connection to a bare address.
    met: Option<PeerId>,
    addresses: Vec<(Multiaddr, BTreeSet<Source>)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pause {
    failures: u32,
    until_ms: u64,
}

impl Dialer {
    pub(super) fn new(own: PeerId) -> Self {
        // Differs between nodes, which is all the jitter needs.
        let jitter = own.to_bytes().iter().fold(0x9e37_79b9_7f4a_7c15_u64, |acc, b| {
            (acc ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            own,
            targets: BTreeMap::new(),
            next_target: 0,
            pauses: BTreeMap::new(),
            linked: BTreeSet::new(),
            dialling: BTreeMap::new(),
            doubted: BTreeSet::new(),
            lost: BTreeMap::new(),
            jitter: jitter | 1,
        }
    }

    /// Adds an address (without `/p2p`). Beyond the bounds it is forgotten; discovery will name it
    /// again.
    pub(super) fn add(&mut self, peer: Option<PeerId>, address: Multiaddr, source: Source) {
        if peer == Some(self.own) {
            return;
        }
        let found = self.targets.values_mut().find(|t| match peer {
            Some(_) => t.peer == peer,
            None => t.peer.is_none() && t.addresses.iter().any(|(a, _)| *a == address),
        });
        if let Some(target) = found {
            // Counted for each source: a book full of places where a peer once was must not keep
            // out where it is now.
            let same =
                target.addresses.iter().filter(|(_, sources)| sources.contains(&source)).count();
            if let Some((_, sources)) = target.addresses.iter_mut().find(|(a, _)| *a == address) {
                sources.insert(source);
            } else if same < ADDRESSES_PER_PEER_MAX {
                target.addresses.push((address, BTreeSet::from([source])));
            }
            return;
        }
        let max = if source == Source::Configured {
            CONFIGURED_MAX + DISCOVERED_MAX
        } else {
            DISCOVERED_MAX
        };
        let configured =
            |t: &Target| t.addresses.iter().any(|(_, s)| s.contains(&Source::Configured));
        let count = self
            .targets
            .values()
            .filter(|t| source == Source::Configured || !configured(t))
            .count();
        if count < max {
            let addresses = vec![(address, BTreeSet::from([source]))];
            self.targets.insert(self.next_target, Target { peer, met: None, addresses });
            self.next_target += 1;
        }
    }

    /// A source no longer vouches for an address.
    pub(super) fn remove(&mut self, peer: PeerId, address: &Multiaddr, source: Source) {
        for target in self.targets.values_mut().filter(|t| t.peer == Some(peer)) {
            for (_, sources) in target.addresses.iter_mut().filter(|(a, _)| a == address) {
                sources.remove(&source);
            }
        }
        self.sweep();
    }

    /// The address files as they are now replace those of the last scan.
    pub(super) fn replace_files(&mut self, found: &[(PeerId, Vec<Multiaddr>)]) {
        for (_, sources) in self.targets.values_mut().flat_map(|t| &mut t.addresses) {
            sources.remove(&Source::File);
        }
        for (peer, addresses) in found {
            for address in addresses {
                self.add(Some(*peer), address.clone(), Source::File);
            }
        }
        self.sweep();
    }

    /// What is to be dialled now. Each counts as begun for its addresses: report the outcome under
    /// the connection's id with [`Self::begun`], or with [`Self::refused`] if the swarm did not
    /// take it.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<(u64, Dial)> {
        let mut room = DIALS_MAX.saturating_sub(self.dialling.len());
        let mut busy: BTreeMap<u64, usize> = BTreeMap::new();
        for (target, _) in self.dialling.values() {
            *busy.entry(*target).or_default() += 1;
        }
        let mut dials = Vec::new();
        for (key, target) in &self.targets {
            let peer = target.peer.or(target.met);
            let linked =
                peer.is_some_and(|p| self.linked.contains(&p) && !self.doubted.contains(&p));
            let urgent = peer.is_some_and(|p| self.is_urgent(&p, now_ms));
            // What is being dialled is held back below, so this is another address or a later try.
            // Where a peer once was may hang; where it is now must not wait for that.
            let at_once = if peer.is_some() { PEER_DIALS_MAX } else { 1 };
            if room == 0 {
                break;
            }
            if linked || busy.get(key).is_some_and(|n| *n >= at_once) {
                continue;
            }
            let ready = |a: &Multiaddr| self.pauses.get(a).is_none_or(|p| p.until_ms <= now_ms);
            let mut now: Vec<_> = target.addresses.iter().filter(|(a, _)| ready(a)).collect();
            // Where a peer is now comes before where it once was: a dial tries a few at a time, in
            // this order.
            now.sort_by_key(|(_, sources)| Reverse(sources.last().copied()));
            let addresses: Vec<Multiaddr> = now.into_iter().map(|(a, _)| a.clone()).collect();
            if addresses.is_empty() {
                continue;
            }
            for address in &addresses {
                // Held until the outcome is known, so that no other target dials it meanwhile.
                let held = if urgent { LOST_PAUSE_MS } else { REDIAL_MS_MAX };
                self.pauses.entry(address.clone()).or_default().until_ms = now_ms + held;
            }
            dials.push((*key, Dial { peer: target.peer, addresses }));
            room -= 1;
        }
        self.doubted.clear();
        dials
    }

    /// The swarm took a dial.
    pub(super) fn begun(&mut self, target: u64, dial: Dial, connection: ConnectionId) {
        self.dialling.insert(connection, (target, dial.addresses));
    }

    /// The swarm did not even try.
    pub(super) fn refused(&mut self, dial: &Dial, now_ms: u64) {
        for address in &dial.addresses {
            self.fail(address, now_ms);
        }
    }

    /// A dial failed; `own` when it reached ourselves. `true` if it was one of ours.
    pub(super) fn failed(&mut self, connection: ConnectionId, own: bool, now_ms: u64) -> bool {
        let Some((target, addresses)) = self.dialling.remove(&connection) else { return false };
        if own {
            self.targets.remove(&target);
        }
        for address in &addresses {
            self.fail(address, now_ms);
        }
        true
    }

    /// A connection to a peer is there. `address` is the one dialled, if this node dialled.
    pub(super) fn linked(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: Option<&Multiaddr>,
        now_ms: u64,
    ) {
        self.linked.insert(peer);
        let Some((target, addresses)) = self.dialling.remove(&connection) else { return };
        if let Some(target) = self.targets.get_mut(&target) {
            target.met = Some(peer);
        }
        for dialled in &addresses {
            // Addresses that lost the race are no worse for it: none is dialled while the link
            // lives.
            let pause = self.pauses.entry(dialled.clone()).or_default();
            pause.until_ms = now_ms + if Some(dialled) == address { 0 } else { REDIAL_MS_MIN };
        }
    }

    /// The last connection to a peer is gone after that long.
    pub(super) fn unlinked(&mut self, peer: PeerId, lived_ms: u64, now_ms: u64) {
        self.linked.remove(&peer);
        let addresses: Vec<Multiaddr> = self
            .targets
            .values()
            .filter(|t| t.peer.or(t.met) == Some(peer))
            .flat_map(|t| t.addresses.iter().map(|(a, _)| a.clone()))
            .collect();
        let proven = lived_ms >= PROVEN_MS;
        if proven && !addresses.is_empty() {
            self.lost.insert(peer, now_ms + LOST_URGENT_MS);
        }
        let urgent = self.is_urgent(&peer, now_ms);
        for address in addresses {
            if proven {
                // Both sides notice at about the same time: not in step.
                let soon = self.random() % REDIAL_MS_MIN / 4;
                self.pauses.insert(address, Pause { failures: 0, until_ms: now_ms + soon });
            } else if urgent {
                // The link of a moment to who was lost lately is one try of many.
                let until_ms = now_ms + LOST_PAUSE_MS;
                self.pauses.insert(address, Pause { failures: 0, until_ms });
            } else {
                self.fail(&address, now_ms);
            }
        }
    }

    fn is_urgent(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.lost.get(peer).is_some_and(|until| *until > now_ms)
    }

    /// A peer is shown to be there, by mDNS or by a file: dial it soon, but do not let whoever
    /// shows it again and again decide how often.
    pub(super) fn shown(&mut self, peer: &PeerId, now_ms: u64) {
        let target = self.targets.values().find(|t| t.peer == Some(*peer));
        for (address, _) in target.iter().flat_map(|t| &t.addresses) {
            if let Some(pause) = self.pauses.get_mut(address) {
                pause.until_ms = pause.until_ms.min(now_ms + LOST_PAUSE_MS);
            }
        }
    }

    /// The machine slept, or is somewhere else: every pause is over.
    pub(super) fn wake(&mut self) {
        self.pauses.clear();
    }

    /// All links may be dead: who is linked is dialled too, once, and the pair settles on what
    /// lives.
    pub(super) fn doubt(&mut self) {
        self.doubted.clone_from(&self.linked);
    }

    /// What a dial under way tries.
    pub(super) fn tried(&self, connection: ConnectionId) -> Vec<Multiaddr> {
        self.dialling.get(&connection).map(|(_, all)| all.clone()).unwrap_or_default()
    }

    /// The addresses of those to whom there is a link.
    pub(super) fn linked_at(&self) -> BTreeSet<&Multiaddr> {
        let linked = |t: &&Target| t.peer.or(t.met).is_some_and(|p| self.linked.contains(&p));
        let addresses = self.targets.values().filter(linked).flat_map(|t| &t.addresses);
        addresses.map(|(address, _)| address).collect()
    }

    /// When an address that failed is dialled next.
    pub(super) fn next_dial(&self, address: &Multiaddr) -> Option<u64> {
        self.pauses.get(address).map(|p| p.until_ms)
    }

    /// The user does not want an address any more. What else vouches for it still does. `false`:
    /// nobody had asked for it.
    pub(super) fn unwant(&mut self, address: &Multiaddr) -> bool {
        let mut wanted = false;
        for (known, sources) in self.targets.values_mut().flat_map(|t| &mut t.addresses) {
            if known == address {
                wanted |= sources.remove(&Source::Configured);
            }
        }
        self.sweep();
        wanted
    }

    /// Who is, or was, at an address.
    pub(super) fn peers_at(&self, address: &Multiaddr) -> BTreeSet<PeerId> {
        let there = |t: &&Target| t.addresses.iter().any(|(known, _)| known == address);
        self.targets.values().filter(there).filter_map(|t| t.peer.or(t.met)).collect()
    }

    /// Where a peer is looked for.
    pub(super) fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let theirs = self.targets.values().filter(|t| t.peer.or(t.met).as_ref() == Some(peer));
        theirs.flat_map(|t| t.addresses.iter().map(|(address, _)| address.clone())).collect()
    }

    /// The user does not want a peer looked for where it once was, except at addresses that are
    /// `wanted` by themselves. Where it shows itself it is dialled. `false`: it was looked for
    /// nowhere else.
    pub(super) fn unwant_peer(
        &mut self,
        peer: PeerId,
        wanted: impl Fn(&Multiaddr) -> bool,
    ) -> bool {
        let mut sought = self.lost.remove(&peer).is_some() && !self.linked.contains(&peer);
        let theirs = self.targets.values_mut().filter(|t| t.peer.or(t.met) == Some(peer));
        for (known, sources) in theirs.flat_map(|t| &mut t.addresses) {
            sought |= sources.remove(&Source::Lost);
            if !wanted(known) {
                sought |= sources.remove(&Source::Configured);
            }
        }
        self.sweep();
        sought
    }

    /// The user wants this address now, whatever its back-off says.
    pub(super) fn hurry(&mut self, address: &Multiaddr) {
        self.pauses.remove(address);
    }

    /// Targets without a link.
    pub(super) fn missing(&self) -> usize {
        self.targets
            .values()
            .filter(|t| !t.peer.or(t.met).is_some_and(|p| self.linked.contains(&p)))
            .count()
    }

    /// Drops what nobody vouches for; back-off of an address outlives its target until it has run
    /// out.
    pub(super) fn forget(&mut self, now_ms: u64) {
        let named: BTreeSet<&Multiaddr> =
            self.targets.values().flat_map(|t| t.addresses.iter().map(|(a, _)| a)).collect();
        self.pauses.retain(|address, pause| named.contains(address) || pause.until_ms > now_ms);
        if self.lost.values().any(|until| *until <= now_ms) {
            self.lost.retain(|_, until| *until > now_ms);
            for target in self.targets.values_mut() {
                if target.peer.is_none_or(|p| !self.lost.contains_key(&p)) {
                    for (_, sources) in &mut target.addresses {
                        sources.remove(&Source::Lost);
                    }
                }
            }
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        for target in self.targets.values_mut() {
            target.addresses.retain(|(_, sources)| !sources.is_empty());
        }
        self.targets.retain(|_, target| !target.addresses.is_empty());
    }

    /// Doubles the pause of an address, give or take a quarter, so that nodes that lost each other
    /// do not meet in step.
    fn fail(&mut self, address: &Multiaddr, now_ms: u64) {
        let urgent = self.targets.values().any(|t| {
            t.peer.or(t.met).is_some_and(|p| self.is_urgent(&p, now_ms))
                && t.addresses.iter().any(|(a, _)| a == address)
        });
        let random = self.random();
        if urgent {
            // It was begun a while ago: the next one is due by that, not by the end of this one.
            let pause = self.pauses.entry(address.clone()).or_default();
            pause.failures = 0;
            pause.until_ms = pause.until_ms.min(now_ms + LOST_PAUSE_MS);
            return;
        }
        let pause = self.pauses.entry(address.clone()).or_default();
        let base = REDIAL_MS_MIN.saturating_mul(1 << pause.failures.min(16)).min(REDIAL_MS_MAX);
        pause.failures = pause.failures.saturating_add(1);
        pause.until_ms = now_ms + base - base / 4 + random % (base / 2);
    }

    fn random(&mut self) -> u64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        self.jitter
    }
}

#[cfg(test)]
mod tests;
