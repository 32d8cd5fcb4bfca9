//! Whom the dialer dials when, by steps of virtual time.

use super::*;
use crate::network::address::loopback_tcp;

fn run(
    dialer: &mut Dialer,
    until_ms: u64,
    mut outcome: impl FnMut(&mut Dialer, ConnectionId, &Dial, u64),
) -> usize {
    let (mut dials, mut id) = (0, 1_000_000 + until_ms as usize);
    for now in (0..until_ms).step_by(250) {
        for (key, dial) in dialer.due(now) {
            dials += 1;
            id += 1;
            let connection = ConnectionId::new_unchecked(id);
            dialer.begun(key, dial.clone(), connection);
            outcome(dialer, connection, &dial, now);
        }
    }
    dials
}

#[test]
fn a_false_address_sees_few_dials_however_many_peers_claim_it() {
    let mut dialer = Dialer::new(PeerId::random());
    for _ in 0..1_000 {
        dialer.add(Some(PeerId::random()), loopback_tcp(9), Source::Mdns);
    }
    assert_eq!(dialer.targets.len(), DISCOVERED_MAX);
    let dials = run(&mut dialer, 600_000, |d, c, _, now| {
        d.failed(c, false, now);
    });
    assert!((10..=18).contains(&dials), "{dials} dials in ten minutes");
}

#[test]
fn a_peer_that_hangs_up_at_once_is_not_dialled_every_second() {
    let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
    dialer.add(Some(peer), loopback_tcp(9), Source::Configured);
    let dials = run(&mut dialer, 600_000, |d, c, dial, now| {
        d.linked(c, peer, dial.addresses.first(), now);
        d.unlinked(peer, 5, now);
    });
    assert!((10..=18).contains(&dials), "{dials} dials in ten minutes");
}

#[test]
fn a_linked_peer_is_left_alone_and_redialled_soon_after_a_long_life() {
    let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
    dialer.add(None, loopback_tcp(9), Source::Configured);
    let (key, dial) = dialer.due(0).remove(0);
    let connection = ConnectionId::new_unchecked(1);
    dialer.begun(key, dial, connection);
    dialer.linked(connection, peer, Some(&loopback_tcp(9)), 5);
    assert!(dialer.due(500_000).is_empty() && dialer.missing() == 0);
    dialer.unlinked(peer, 500_000, 500_005);
    assert_eq!(dialer.due(500_005 + REDIAL_MS_MIN / 4).len(), 1);
}

#[test]
fn a_lost_peer_is_dialled_every_two_seconds_for_two_minutes_and_then_rarely() {
    for hangs in [false, true] {
        let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
        // Nobody told us where it listens: it had dialled us.
        dialer.linked(ConnectionId::new_unchecked(0), peer, None, 0);
        dialer.add(Some(peer), loopback_tcp(9), Source::Lost);
        dialer.unlinked(peer, PROVEN_MS, 0);
        let mut open: Vec<(ConnectionId, u64)> = Vec::new();
        let mut begun: Vec<u64> = Vec::new();
        let mut id = 1;
        for now in (0..2 * LOST_URGENT_MS).step_by(250) {
            // A network that swallows packets lets each dial hang for five seconds.
            let patience = if hangs { 5_000 } else { 0 };
            open.retain(|(connection, at)| {
                let ends = at + patience <= now;
                if ends {
                    dialer.failed(*connection, false, now);
                }
                !ends
            });
            for (key, dial) in dialer.due(now) {
                id += 1;
                dialer.begun(key, dial, ConnectionId::new_unchecked(id));
                open.push((ConnectionId::new_unchecked(id), now));
                begun.push(now);
            }
            dialer.forget(now);
        }
        let gaps = begun.windows(2).map(|w| w[1] - w[0]);
        assert!(gaps.max().unwrap() <= LOST_PAUSE_MS + 250, "{begun:?}");
        assert!(begun.last().unwrap().abs_diff(LOST_URGENT_MS) <= LOST_PAUSE_MS + 250);
        assert_eq!(dialer.missing(), 0, "what was only known from the lost link is forgotten");
    }
}

#[test]
fn a_link_of_a_moment_to_who_was_lost_changes_nothing() {
    let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
    dialer.add(Some(peer), loopback_tcp(9), Source::Configured);
    dialer.linked(ConnectionId::new_unchecked(0), peer, None, 0);
    dialer.unlinked(peer, PROVEN_MS, 0);
    let mut begun = Vec::new();
    run(&mut dialer, 2 * LOST_URGENT_MS, |d, c, dial, now| {
        begun.push(now);
        // It comes up once more for less than it takes to prove itself, then it is down.
        if (10_000..12_000).contains(&now) {
            d.linked(c, peer, dial.addresses.first(), now);
            d.unlinked(peer, PROVEN_MS - 1, now);
        } else {
            d.failed(c, false, now);
        }
        d.forget(now);
    });
    let lost: Vec<u64> = begun.into_iter().filter(|at| *at < LOST_URGENT_MS).collect();
    let gaps = || lost.windows(2).map(|w| w[1] - w[0]);
    assert!(gaps().max().unwrap() <= LOST_PAUSE_MS + 250, "{lost:?}");
    assert!(gaps().min().unwrap() >= LOST_PAUSE_MS - 250, "{lost:?}");
}

#[test]
fn a_peer_that_is_shown_again_is_dialled_soon_however_long_its_pause() {
    let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
    dialer.add(Some(peer), loopback_tcp(9), Source::Mdns);
    let dials = run(&mut dialer, 600_000, |d, c, _, now| {
        d.failed(c, false, now);
    });
    assert!(dials < 20);
    dialer.shown(&peer, 600_000);
    assert_eq!(dialer.due(600_000 + LOST_PAUSE_MS).len(), 1);
}

#[test]
fn a_linked_peer_in_doubt_is_dialled_once_beside_its_link() {
    let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
    dialer.add(Some(peer), loopback_tcp(9), Source::Mdns);
    dialer.linked(ConnectionId::new_unchecked(0), peer, None, 0);
    assert!(dialer.due(1_000).is_empty());
    dialer.wake();
    dialer.doubt();
    let dials = dialer.due(1_000);
    assert_eq!(dials.len(), 1);
    dialer.begun(dials[0].0, dials[0].1.clone(), ConnectionId::new_unchecked(1));
    dialer.failed(ConnectionId::new_unchecked(1), false, 1_100);
    assert!(dialer.due(100_000).is_empty());
}

#[test]
fn where_a_peer_is_now_is_dialled_while_a_dial_to_where_it_was_hangs() {
    let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
    dialer.add(Some(peer), loopback_tcp(9), Source::Configured);
    let mut begun = |now, id| {
        let dials = dialer.due(now);
        for (key, dial) in &dials {
            dialer.begun(*key, dial.clone(), ConnectionId::new_unchecked(id));
        }
        dialer.add(Some(peer), loopback_tcp(10), Source::Mdns);
        dials.into_iter().flat_map(|(_, dial)| dial.addresses).collect::<Vec<_>>()
    };
    assert_eq!(begun(0, 1), [loopback_tcp(9)]);
    assert_eq!(begun(250, 2), [loopback_tcp(10)], "and the first still hangs");
    assert!(begun(500, 3).is_empty(), "both are being tried");
}

#[test]
fn a_peer_that_is_unwanted_is_looked_for_only_where_it_shows_itself() {
    let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
    for (port, source) in [
        (1, Source::Configured),
        (2, Source::Configured),
        (3, Source::Lost),
        (4, Source::Configured),
        (5, Source::Mdns),
    ] {
        dialer.add(Some(peer), loopback_tcp(port), source);
    }
    dialer.add(Some(PeerId::random()), loopback_tcp(6), Source::Configured);
    assert_eq!(dialer.peers_at(&loopback_tcp(2)), BTreeSet::from([peer]));
    assert!(dialer.unwant_peer(peer, |address| *address == loopback_tcp(4)));
    assert!(!dialer.unwant_peer(peer, |address| *address == loopback_tcp(4)), "done already");
    assert!(!dialer.unwant(&loopback_tcp(5)), "nobody asked for what shows itself");
    let mut left: Vec<_> = dialer.due(0).into_iter().flat_map(|(_, d)| d.addresses).collect();
    left.sort_unstable();
    assert_eq!(left, [loopback_tcp(4), loopback_tcp(5), loopback_tcp(6)]);
    dialer.linked(ConnectionId::new_unchecked(9), peer, None, 0);
    dialer.unlinked(peer, PROVEN_MS, 10);
    dialer.unwant_peer(peer, |_| false);
    dialer.remove(peer, &loopback_tcp(5), Source::Mdns);
    assert_eq!(dialer.missing(), 1, "of a peer that is not shown nothing is left");
}

#[test]
fn a_vanished_file_ends_the_dialling_and_configured_addresses_stay() {
    let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
    dialer.replace_files(&[(peer, vec![loopback_tcp(9)])]);
    dialer.add(Some(peer), loopback_tcp(10), Source::Configured);
    assert_eq!(dialer.due(0)[0].1.addresses.len(), 2);
    dialer.replace_files(&[]);
    let left = dialer.due(100_000);
    assert_eq!(left[0].1.addresses, vec![loopback_tcp(10)]);
    assert_eq!(dialer.missing(), 1);
    let own = dialer.own;
    dialer.add(Some(own), loopback_tcp(11), Source::File);
    assert_eq!(dialer.missing(), 1);
}

#[test]
fn a_book_full_of_old_addresses_does_not_hide_where_a_peer_is_now() {
    let (mut dialer, peer) = (Dialer::new(PeerId::random()), PeerId::random());
    for port in 1..=100 {
        dialer.add(Some(peer), loopback_tcp(port), Source::Configured);
    }
    dialer.replace_files(&[(peer, vec![loopback_tcp(4_100)])]);
    dialer.add(Some(peer), loopback_tcp(4_200), Source::Mdns);
    let dials = dialer.due(0);
    assert_eq!(
        dials[0].1.addresses[..2],
        [loopback_tcp(4_200), loopback_tcp(4_100)],
        "and it is tried first"
    );
    assert_eq!(dials[0].1.addresses.len(), ADDRESSES_PER_PEER_MAX + 2);
}

#[test]
fn dials_in_progress_are_bounded() {
    let mut dialer = Dialer::new(PeerId::random());
    for port in 1..200 {
        dialer.add(None, loopback_tcp(port), Source::Configured);
    }
    let first = dialer.due(0);
    assert_eq!(first.len(), DIALS_MAX);
    for (i, (key, dial)) in first.into_iter().enumerate() {
        dialer.begun(key, dial, ConnectionId::new_unchecked(i));
    }
    assert!(dialer.due(0).is_empty());
}
