//! What members of a room cause: each input is given to the part whose business it is, and the
//! network hears whether it is to be passed on.

use std::collections::BTreeMap;

use crate::ctx::Ctx;
use crate::delivery::VerifiedAck;
use crate::error::Reject;
use crate::ids::{Peer, RoomId};
use crate::linked::Linked;
use crate::log::entry::VerifiedRun;
use crate::room::exchange::PageIn;
use crate::room::{Room, Source, Taken};
use crate::step::{GossipId, Input, Verdict};
use crate::wire;

/// Inputs that a member of a room caused.
pub(crate) fn from_peer(
    ctx: &mut Ctx<'_>,
    rooms: &mut BTreeMap<RoomId, Room>,
    links: &mut BTreeMap<Peer, Linked>,
    input: Input,
) {
    let room = match &input {
        Input::Gossip { room, .. } | Input::SyncPage { room, .. } => *room,
        Input::Beacon { ack, .. } | Input::Ack { ack, .. } => ack.room,
        Input::Presence { presence, .. } | Input::Hello { presence, .. } => presence.room,
        Input::SyncAsked { request, .. } => request.room,
        Input::BodiesAsked { room, .. }
        | Input::BodiesCame { room, .. }
        | Input::BodyRotted { room, .. }
        | Input::SpaceFreed { room, .. } => *room,
        _ => return,
    };
    // What this disk says holds for rooms that were left, too: who comes back needs it.
    let of_disk = matches!(input, Input::BodyRotted { .. } | Input::SpaceFreed { .. });
    let Some(room) = rooms.get_mut(&room).filter(|r| of_disk || r.is_followed()) else {
        if let Input::SyncAsked { token, .. } | Input::BodiesAsked { token, .. } = input {
            ctx.step.responds.push((token, wire::response_refused()));
        }
        return;
    };
    if room.row.left && !of_disk && !is_heard_at_farewell(&input) {
        return;
    }
    if let Input::SyncAsked { peer, .. } | Input::Hello { peer, .. } = &input
        && let Some(linked) = links.get_mut(peer)
    {
        // Who proves membership follows the topic, whether or not the gossip layer told us.
        linked.follow(room.keys.topic);
    }
    match input {
        Input::Gossip { peer, message, run, .. } => gossip(ctx, room, peer, message, run),
        Input::Beacon { peer, message, ack } => {
            heard_ack(ctx, room, &peer, &ack);
            room.heard_beacon(&ack.frontier);
            let known = room.log.knows(&ack.device);
            if known && room.hearsay.passes_beacon(ack.device, ack.says(), ctx.now) {
                verdict(ctx, room, peer, message);
            } else {
                ctx.step.verdicts.push((peer, message, Verdict::Ignore));
            }
        }
        Input::Ack { peer, ack } => {
            if links.contains_key(&peer) {
                room.proved(ctx, &peer);
            }
            heard_ack(ctx, room, &peer, &ack);
        }
        Input::Presence { peer, message, presence } => {
            let news = room.present(ctx, &presence, false) && room.log.knows(&presence.device);
            if news && room.hearsay.passes_presence(presence.device, ctx.now) {
                verdict(ctx, room, peer, message);
            } else {
                // An old record said again is not carried further.
                ctx.step.verdicts.push((peer, message, Verdict::Ignore));
            }
        }
        Input::Hello { peer, presence, .. } => {
            if links.contains_key(&peer) {
                room.proved(ctx, &peer);
            }
            room.present(ctx, &presence, true);
        }
        Input::SyncAsked { peer, token, request } => room.serve(ctx, &peer, token, request),
        Input::BodiesAsked { peer, token, entries, .. } => room.lend(ctx, &peer, token, entries),
        Input::BodiesCame { request, bodies, .. } => room.bodies_came(ctx, request, bodies),
        Input::BodyRotted { entry, .. } => room.body_rotted(ctx, entry),
        Input::SpaceFreed { bytes, .. } => room.space_freed(bytes),
        Input::SyncPage { peer, request, runs, frontier, more, fault, .. } => {
            if let Some(reject) = fault {
                ctx.step.penalties.push((peer.clone(), reject));
            }
            room.page(ctx, &peer, PageIn { request, runs, frontier, more, fault: fault.is_some() });
        }
        _ => {}
    }
}

/// What still counts while the goodbye is being said: who has it, and who asks for it.
fn is_heard_at_farewell(input: &Input) -> bool {
    use Input::{Ack, Beacon, BodiesAsked, Hello, SyncAsked};
    matches!(
        input,
        Ack { .. } | Beacon { .. } | BodiesAsked { .. } | Hello { .. } | SyncAsked { .. }
    )
}

fn gossip(ctx: &mut Ctx<'_>, room: &mut Room, peer: Peer, message: GossipId, run: VerifiedRun) {
    match room.accept(ctx, run, Source::Gossip) {
        Ok(Taken::New(_)) => verdict(ctx, room, peer, message),
        Ok(Taken::Parked) => {
            room.gap(ctx, &peer);
            verdict(ctx, room, peer, message);
        }
        // What the workers let through was well formed and signed. What is still wrong with it
        // depends on what is here: whoever has less, or more, passes it on in good faith.
        Err(reject) => {
            if reject != Reject::Duplicate {
                ctx.step.refused.push(reject);
            }
            if !matches!(reject, Reject::Duplicate | Reject::Rule) {
                room.gap(ctx, &peer);
            }
            if planted!(ForwarderBlamed) && reject == Reject::Rule {
                ctx.step.penalties.push((peer.clone(), Reject::Run));
            }
            ctx.step.verdicts.push((peer, message, Verdict::Ignore));
        }
    }
}

fn heard_ack(ctx: &mut Ctx<'_>, room: &mut Room, via: &Peer, ack: &VerifiedAck) {
    room.acknowledged(ctx, ack.device, &ack.frontier);
    room.compare(ctx, via, &ack.device, &ack.frontier);
}

/// Valid: forwarded, unless everybody is connected to everybody.
fn verdict(ctx: &mut Ctx<'_>, room: &Room, peer: Peer, message: GossipId) {
    let verdict = if room.links.full_mesh || planted!(ForwardNever) {
        Verdict::Ignore
    } else {
        Verdict::Accept
    };
    ctx.step.verdicts.push((peer, message, verdict));
}
