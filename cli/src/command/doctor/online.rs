//! Checks of the running node: who it reaches, who reaches it. Pure: facts in, findings out.
//! Without a node all of this is unknown; nothing is sent to find out.

use std::net::IpAddr;
use std::time::Duration;

use klatch_core::limits::{CLOCK_AHEAD_MS_MAX, CLOCK_BEYOND_MS};
use klatch_core::query::{Host, Mdns, RoomSummary, Status};
use klatch_core::times::is_absurd;

use super::facts::{Facts, NodeFact};
use super::{Check, Finding};
use crate::command::status::{SAME_FOLDER, wanted as wanted_line};
use crate::lines::{count, marked};

/// A healthy node answers from memory.
const SLOW: Duration = Duration::from_secs(1);
/// mDNS asks twice in this time: before it, silence means nothing.
const LISTENED_S_MIN: u64 = 60;
/// Refused inputs that honest members hardly ever cause; fewer are somebody's slip.
const REFUSED_MANY: u64 = 100;
/// What honest members do not cause.
const REFUSED_KINDS: [&str; 8] =
    ["decode", "open", "signature", "body", "run", "rule", "rate", "full"];
/// Rooms listed one by one.
const ROOMS_SHOWN: usize = 30;

/// Somebody answers, in time, in our words.
pub(super) fn node(facts: &Facts) -> Finding {
    match &facts.node {
        NodeFact::Absent => {
            Finding::warn("no node is running: nobody can reach you", facts.klatch("up"))
        }
        NodeFact::Hidden { cause, fix } => Finding::fail(cause, fix),
        NodeFact::Silent(silent) => Finding::fail(silent.text(), facts.klatch("down")),
        NodeFact::Strange { cause } => Finding::warn(
            format!("the running node is not understood ({cause}): another version?"),
            facts.restart(""),
        ),
        NodeFact::Answers { status, took } => answering(facts, status, *took),
    }
}

fn answering(facts: &Facts, status: &Status, took: Duration) -> Finding {
    let (pid, ms) = (status.pid, took.as_millis());
    if status.version != facts.version {
        let text = format!(
            "the running node has version {}, this program {}",
            status.version, facts.version
        );
        return Finding::warn(text, facts.restart(""));
    }
    if took > SLOW {
        return Finding::warn(
            format!("running (pid {pid}), but it took {ms} ms to answer"),
            facts.restart(""),
        );
    }
    let host = match status.host {
        Some(Host::Background) => "in the background",
        Some(Host::Foreground) => "in the foreground",
        Some(Host::Command) => "inside another command, and ends with it",
        None => "running",
    };
    let at = status.socket.as_ref().map_or_else(String::new, |s| format!(" at {s}"));
    Finding::ok(format!("{host} (pid {pid}), answered in {ms} ms{at}"))
}

/// Nobody says.
pub(super) fn unheard(facts: &Facts, what: &str) -> Finding {
    let fix = match &facts.node {
        NodeFact::Absent => facts.klatch("up"),
        NodeFact::Hidden { fix, .. } => fix.clone(),
        _ => facts.restart(""),
    };
    Finding::unknown(format!("no node says {what}"), fix)
}

/// Others can connect.
pub(super) fn listening(facts: &Facts, status: &Status) -> Finding {
    let local = |a: &&String| a.starts_with("/ip4/127.") || a.starts_with("/ip6/::1/");
    let (all, inside) = (status.listening.len(), status.listening.iter().filter(local).count());
    if all == 0 {
        return Finding::fail(
            "on no address: nobody can connect",
            facts.restart("--listen 0.0.0.0:0"),
        );
    }
    if all == inside && status.loopback_only {
        let text = "on this machine only, as --loopback-only, KLATCH_LOOPBACK_ONLY or --listen asks: no other machine can connect";
        let fix = format!(
            "{} && env -u KLATCH_LOOPBACK_ONLY {}",
            facts.klatch("down"),
            facts.klatch("up")
        );
        return Finding::warn(text, fix);
    }
    if all == inside {
        return Finding::warn(
            "on this machine only: it has no address in any network now",
            "connect it to a network; the node notices that by itself",
        );
    }
    let ports =
        status.listening.iter().filter_map(|a| port(a)).collect::<std::collections::BTreeSet<_>>();
    let ports = ports.into_iter().collect::<Vec<_>>().join(", ");
    Finding::ok(format!("on {} ({ports})", count(all - inside, "address")))
}

/// Whether somebody in another network could connect. Nobody here can tell: that takes a friend.
pub(super) fn outside(_: &Facts, status: &Status) -> Finding {
    let ips = || status.listening.iter().map(|a| ip(a));
    if ips().all(|ip| ip.is_some_and(|ip| ip.is_loopback())) {
        return Finding::skipped("the node listens on this machine only");
    }
    let why = match ips().flatten().find(is_public) {
        Some(ip) => format!("{ip} is a public address, unless a firewall keeps others away"),
        // In a report for others addresses have stand-ins.
        None if ips().any(|ip| ip.is_none()) => {
            "whether an address here is public is not shown".to_owned()
        }
        None => "all addresses here are private: a router would have to forward a port".to_owned(),
    };
    Finding::unknown(
        format!("reachable from outside: unknown; {why}"),
        "where a friend is, with an address of `status` here: klatch up --peer ADDRESS",
    )
}

fn ip(address: &str) -> Option<IpAddr> {
    let mut parts = address.split('/').skip(1);
    matches!(parts.next()?, "ip4" | "ip6").then(|| parts.next()?.parse().ok())?
}

/// Given out to one machine in the world, as far as its number tells.
fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let carrier = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || carrier)
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}

/// `tcp 4001` of `/ip4/192.0.2.1/tcp/4001`.
fn port(address: &str) -> Option<String> {
    let mut parts = address.split('/').skip_while(|p| !matches!(*p, "tcp" | "udp"));
    Some(format!("{} {}", parts.next()?, parts.next()?))
}

/// Neighbours find each other without being told.
pub(super) fn multicast(facts: &Facts, status: &Status) -> Finding {
    let by_address = facts.restart("--peer ADDRESS");
    let Some(discovery) = &status.discovery else {
        return Finding::unknown("the running node does not say", facts.restart(""));
    };
    match (discovery.mdns, discovery.found) {
        (Mdns::Off, _) => Finding::skipped("off, as an option asks; others are found by address"),
        (Mdns::Failed, _) => Finding::warn(
            "the system did not let the node listen for multicast: is a network interface up, is udp/5353 taken?",
            facts.restart(""),
        ),
        (Mdns::On, 0) if status.uptime_s < LISTENED_S_MIN => {
            let text = format!("nothing heard yet; the node started {} s ago", status.uptime_s);
            Finding::unknown(
                text,
                format!("{} && {}", facts.klatch("wait peer"), facts.klatch("doctor")),
            )
        }
        (Mdns::On, 0) => {
            let long = match discovery.heard_ms_ago {
                Some(ms) => format!("nobody was heard for {}", minutes(ms / 1_000)),
                None => format!("nobody was heard in {}", minutes(status.uptime_s)),
            };
            let why = "nobody else is there, or Wi-Fi isolation or a firewall on udp/5353 keeps multicast away";
            Finding::unknown(format!("{long}: {why}"), by_address)
        }
        (Mdns::On, found) => Finding::ok(format!(
            "{} heard in the local network",
            count(found as usize, "neighbour")
        )),
    }
}

fn minutes(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

/// Somebody is connected.
pub(super) fn peers(facts: &Facts, status: &Status) -> Finding {
    let missing = status.discovery.as_ref().map_or(0, |d| d.missing) as usize;
    let away =
        if missing > 0 { format!("; {missing} more are known and away") } else { String::new() };
    let failing = status.wanted.iter().find(|w| !w.connected && w.failures > 0);
    if let Some(wanted) = failing {
        let text = format!("{} connected; {}", status.peers.len(), wanted_line(wanted));
        return Finding::warn(text, facts.klatch("peer list"));
    }
    match (status.peers.len(), missing) {
        (0, 0) if status.loopback_only => Finding::unknown(
            format!("nobody is connected; {SAME_FOLDER}"),
            facts.restart("--peer ADDRESS"),
        ),
        (0, 0) => Finding::unknown(
            "nobody is connected and nobody is known: are others there at all?",
            facts.restart("--peer ADDRESS"),
        ),
        (0, known) => Finding::warn(
            format!("nobody is connected; {known} known before could not be reached"),
            facts.klatch("wait peer --timeout 5m"),
        ),
        (n, _) => {
            let slowest = status.peers.iter().filter_map(|p| p.rtt_ms).max();
            let rtt =
                slowest.map_or_else(String::new, |ms| format!(", the slowest answers in {ms} ms"));
            Finding::ok(format!("{n} connected{rtt}{away}"))
        }
    }
}

/// The clock is plausible, and agrees with those of others.
pub(super) fn clock(facts: &Facts) -> Finding {
    let set = "sudo timedatectl set-ntp true";
    if is_absurd(facts.now_ms) {
        let side = if facts.now_ms < CLOCK_BEYOND_MS { "before 2025" } else { "after 2099" };
        return Finding::fail(format!("the clock of this machine stands {side}"), set);
    }
    let Some(status) = facts.status() else {
        return unheard(facts, "how the clock compares with those of others");
    };
    let Some(clock) = status.clock else {
        return Finding::unknown(
            "nobody was there to compare it with in the last minutes",
            facts.klatch("wait peer --timeout 5m"),
        );
    };
    let (off, others) =
        (clock.ahead_ms.unsigned_abs(), count(clock.devices as usize, "other device"));
    let way = if clock.ahead_ms < 0 { "behind" } else { "ahead of" };
    if off > CLOCK_AHEAD_MS_MAX {
        let text =
            format!("{} {way} the clocks of {others}: one side is wrong", minutes(off / 1_000));
        return Finding::warn(text, set);
    }
    Finding::ok(format!("within {off} ms of {others}"))
}

/// Nobody floods this node with what is malformed or too much.
pub(super) fn refused(facts: &Facts, status: &Status) -> Finding {
    let bad = status.refused.iter().filter(|(kind, _)| REFUSED_KINDS.contains(&kind.as_str()));
    let (total, most) = bad.fold((0_u64, None), |(sum, most), (kind, n)| {
        (sum.saturating_add(*n), most.filter(|(_, m)| m >= &n).or(Some((kind, n))))
    });
    match most {
        Some((kind, n)) if total >= REFUSED_MANY => Finding::warn(
            format!(
                "{total} inputs of others were refused, most ({n}) as `{kind}`: a faulty or hostile program"
            ),
            facts.klatch("doctor --bundle report.tar"),
        ),
        _ => Finding::ok(format!("{total} inputs of others were refused")),
    }
}

/// One row for all rooms, and one for each.
pub(super) fn rooms(facts: &Facts) -> Vec<Check> {
    let Some(status) = facts.status() else {
        return vec![unheard(facts, "who is in your rooms").named("rooms")];
    };
    let joined: Vec<&RoomSummary> = status.rooms.iter().filter(|r| !r.left).collect();
    let met = joined.iter().filter(|r| r.online > 0).count();
    let shown = if joined.len() > ROOMS_SHOWN {
        format!("; the first {ROOMS_SHOWN} follow")
    } else {
        String::new()
    };
    let sum = match joined.len() {
        0 => Finding::ok("none yet"),
        n => {
            Finding::ok(format!("{}, {met} of them with somebody online{shown}", count(n, "room")))
        }
    };
    let each = joined.iter().take(ROOMS_SHOWN).map(|r| room(facts, r).named(&target(r)));
    [sum.named("rooms")].into_iter().chain(each).collect()
}

/// As `klatch wait` takes it: with the mark where others look alike.
fn target(room: &RoomSummary) -> String {
    format!("room:{}", marked(room.name.clone(), room.name_mark.as_deref()))
}

fn room(facts: &Facts, room: &RoomSummary) -> Finding {
    let queued = match room.queued {
        0 => String::new(),
        n => format!(
            "; {} of yours reached nobody yet",
            count(usize::try_from(n).unwrap_or(usize::MAX), "message")
        ),
    };
    if room.behind {
        let text = format!(
            "this profile was restored from an old copy, and others have messages of you that are \
             not here: it receives, and cannot write in this room{queued}"
        );
        return Finding::fail(text, "klatch --profile NEW init");
    }
    if room.damaged > 0 {
        let lost = match room.damaged {
            1 => "a text was damaged on this disk; it comes back once a member who has it is \
                  connected"
                .to_owned(),
            n => format!(
                "{n} texts were damaged on this disk; they come back once a member who has them is \
                 connected"
            ),
        };
        let text = format!("{lost}{queued}");
        return Finding::warn(text, "check the disk and its cables; keep a member online");
    }
    if room.over_budget {
        let text = format!("its disk budget is used up: later texts are not stored here{queued}");
        return Finding::warn(text, facts.klatch("rooms"));
    }
    match (room.online, room.members) {
        // Nothing is wrong with a room in which nobody else has been.
        (0, 0 | 1) => Finding::ok(format!("nobody else was ever seen here{queued}")),
        (0, members) => {
            let others = count(members as usize - 1, "other member");
            Finding::unknown(
                format!("none of {others} is connected: away, or out of reach{queued}"),
                facts.klatch(&format!("wait '{}'", target(room))),
            )
        }
        (online, members) => {
            let all = members.max(online + 1);
            Finding::ok(format!("{} of {all} online{queued}", online + 1))
        }
    }
}
