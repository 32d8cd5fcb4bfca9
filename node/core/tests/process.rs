//! Which run of a program is behind a link: a hello names it, and a word that comes late over a
//! former connection changes nothing.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use klatch_core::crypto::Verifier;
use klatch_core::crypto::group::{RoomKeys, RoomRoot};
use klatch_core::identity::Keys;
use klatch_core::ids::{Digest, Peer};
use klatch_core::machine::Machine;
use klatch_core::presence::{Process, VerifiedPresence};
use klatch_core::sim::rng::Seeded;
use klatch_core::step::{Input, Snapshot, Step};
use klatch_core::wire::{self, Request};

const NOW: u64 = 1_800_000_000_000;

struct Bob {
    machine: Machine,
    rng: Seeded,
    now: u64,
    me: Peer,
    alice: Peer,
    keys: RoomKeys,
}

impl Bob {
    /// Bob in a room, linked with alice, who has said hello.
    fn linked() -> Self {
        let (me, alice) = (Peer(vec![2; 38]), Peer(vec![1; 38]));
        let root = Arc::new(RoomRoot::from_bytes([7; 32]));
        let keys = RoomKeys::of_root(&root);
        let own = Keys::from_seeds(&[2; 32], &[3; 32], NOW);
        let snapshot = Snapshot { name: "bob".to_owned(), ..Snapshot::default() };
        let machine = Machine::open(own, me.clone(), Process([9; 16]), snapshot, NOW);
        let mut bob = Self { machine, rng: Seeded::new(1, 1), now: NOW, me, alice, keys };
        let name = "#garden".to_owned();
        let _ = bob.hears(Input::Join { id: 1, name, root, passphrase: false });
        let peer = bob.alice.clone();
        let _ = bob.hears(Input::LinkUp { peer });
        let greeted = bob.is_greeted_by([1; 16], 1);
        assert_eq!(greeted, 1, "a link that says hello is answered by a hello");
        bob
    }

    fn hears(&mut self, input: Input) -> Step {
        self.now += 10;
        let mut step = self.machine.handle(self.now, &mut self.rng, input);
        step.absorb(self.machine.handle(self.now, &mut self.rng, Input::BatchEnd));
        step
    }

    /// Alice says hello; returns how many hellos bob says to that.
    fn is_greeted_by(&mut self, process: [u8; 16], connection: u64) -> usize {
        let alice = Keys::from_seeds(&[4; 32], &[5; 32], NOW);
        let (room, peer) = (self.keys.room, self.alice.clone());
        let presence = VerifiedPresence::issue(&alice, room, &peer, Digest([0; 32]), self.now);
        let process = Process(process);
        let bytes = wire::hello_request(&self.keys, &peer, &self.me, presence, &process, [6; 24]);
        let opened =
            wire::open_request(&self.keys, &self.me, &peer, &bytes, &mut Verifier::default());
        let Ok(Request::Hello(presence, said)) = opened else { panic!("{opened:?}") };
        assert_eq!(said, process);
        let step = self.hears(Input::Hello { peer, connection, presence, process });
        self.hellos_in(&step)
    }

    fn hellos_in(&self, step: &Step) -> usize {
        let hello = |bytes: &[u8]| {
            let mut verifier = Verifier::default();
            let request =
                wire::open_request(&self.keys, &self.alice, &self.me, bytes, &mut verifier);
            matches!(request, Ok(Request::Hello(_, Process([9, ..]))))
        };
        step.sends.iter().filter(|s| s.peer == self.alice && hello(&s.bytes)).count()
    }
}

#[test]
fn what_was_said_to_a_former_process_is_said_again_once() {
    let mut bob = Bob::linked();
    assert_eq!(bob.is_greeted_by([1; 16], 1), 0, "the same process, once more");
    assert_eq!(bob.is_greeted_by([2; 16], 2), 1, "another one knows nothing of what was said");
    assert_eq!(bob.is_greeted_by([2; 16], 2), 0, "and was told");
}

#[test]
fn a_hello_that_comes_late_over_a_former_connection_changes_nothing() {
    let mut bob = Bob::linked();
    assert_eq!(bob.is_greeted_by([2; 16], 2), 1);
    assert_eq!(bob.is_greeted_by([1; 16], 1), 0, "the former process is not back");
    assert_eq!(bob.is_greeted_by([2; 16], 2), 0, "the new one never went");
    assert_eq!(bob.is_greeted_by([1; 16], 3), 1, "over a newer connection it would be");
}

#[test]
fn a_renewed_link_is_greeted_and_asked_again() {
    let mut bob = Bob::linked();
    let peer = bob.alice.clone();
    let step = bob.hears(Input::LinkRenewed { peer });
    assert_eq!(bob.hellos_in(&step), 1);
    assert!(step.sends.iter().any(|s| s.wants_page), "what was asked may be lost");
}

#[test]
fn the_process_of_a_hello_is_not_in_its_bytes() {
    let bob = Bob::linked();
    let process = Process(*b"sixteen byte run");
    klatch_core::crypto::suite::set_fast(false);
    let bytes = wire::hello_request(&bob.keys, &bob.me, &bob.alice, vec![1; 60], &process, [1; 24]);
    assert!(!bytes.windows(16).any(|w| w == process.0), "a stranger could count restarts");
}
