//! `klatch status`: what the running node is doing.

use klatch_core::query::{Family, Status, WantedPeer};

use super::rooms::{messages, shown, size};
use crate::context::Context;
use crate::error::Report;
use crate::lines::{count, marked};
use crate::output::visible;

/// Without any network nodes find each other by files.
pub const SAME_FOLDER: &str = "a node that stays on this machine finds only those with the same \
     XDG_RUNTIME_DIR (or KLATCH_HOME), and others by --peer";

/// Shows the status of the running node; never starts one.
pub async fn run(ctx: &Context) -> Result<(), Report> {
    let status = ctx.attach().await?.status().await?;
    ctx.out.either(&status, || text(&status))
}

/// The whole status.
pub fn text(status: &Status) -> String {
    let mut text = format!(
        "{}\nversion   {} · pid {} · up {}",
        who(status),
        status.version,
        status.pid,
        up(status.uptime_s)
    );
    for address in &status.listening {
        text.push_str(&format!(
            "\nlisten    {}/p2p/{}",
            visible(address),
            visible(&status.peer_id)
        ));
    }
    text.push_str(&format!("\nreach     {}\n", reach(status)));
    text.push_str(&peers(status));
    for line in status.wanted.iter().filter(|w| !w.connected).map(wanted) {
        text.push_str(&format!("\nwanted    {line}"));
    }
    for room in &status.rooms {
        let name = shown(room);
        let here = room.online + 1;
        text.push_str(&format!(
            "\nroom      {name} · {here} online · {}, {} unread · {}",
            messages(room.messages),
            room.unread,
            size(room.bytes)
        ));
        if room.behind {
            text.push_str(" · READ ONLY: restored from an old copy");
        }
    }
    if status.queued > 0 {
        text.push_str(&format!(
            "\nqueued    {} of yours that nobody else has yet",
            count(usize::try_from(status.queued).unwrap_or(usize::MAX), "message")
        ));
    }
    if status.read_only {
        text.push_str(
            "\nDISK      the disk refuses writes: free some space, or make it writable; history can \
             be read",
        );
    }
    let refused: Vec<String> = status.refused.iter().map(|(why, n)| format!("{why} {n}")).collect();
    if !refused.is_empty() {
        text.push_str(&format!("\nrefused   {}", visible(&refused.join(", "))));
    }
    text
}

/// Who could connect, as far as this machine goes.
pub fn reach(status: &Status) -> &'static str {
    match (status.families.as_slice(), status.loopback_only) {
        (_, true) => "this machine only, as asked",
        ([], false) => "this machine only: it is in no network",
        ([Family::Ipv4], false) => "other machines, over IPv4",
        ([Family::Ipv6], false) => "other machines, over IPv6",
        (_, false) => "other machines, over IPv4 and IPv6",
    }
}

/// Own name and keys.
pub fn who(status: &Status) -> String {
    let print = klatch_core::identity::fingerprint(&status.identity);
    format!("you       {} · {print}\ndevice    {}", visible(&status.name), status.device)
}

/// The connected peers.
pub fn peers(status: &Status) -> String {
    if status.peers.is_empty() {
        let why = if status.loopback_only { format!("; {SAME_FOLDER}") } else { String::new() };
        return format!("peers     none: nobody is connected{why}");
    }
    let lines: Vec<String> = status
        .peers
        .iter()
        .map(|p| {
            let name = p.name.as_deref().map_or_else(|| "?".to_owned(), visible);
            let name = marked(name, p.name_mark.as_deref());
            let rtt = p.rtt_ms.map_or_else(|| "? ms".to_owned(), |ms| format!("{ms} ms"));
            format!("peer      {name} · {} · {rtt} · {}", visible(&p.address), visible(&p.peer_id))
        })
        .collect();
    lines.join("\n")
}

/// How it goes with an address that was asked for.
pub fn wanted(wanted: &WantedPeer) -> String {
    let address = visible(&wanted.address);
    if wanted.connected {
        return format!("{address}: connected");
    }
    let Some(error) = &wanted.error else { return format!("{address}: not tried yet") };
    let ago = wanted.failed_ms_ago.unwrap_or_default() / 1_000;
    let tries = count(wanted.failures as usize, "failed try").replace("trys", "tries");
    let next = match wanted.next_in_ms.map(|ms| ms.div_ceil(1_000)) {
        None | Some(0) => "again now".to_owned(),
        Some(s) => format!("again in {}", up(s)),
    };
    format!("{address}: {} ({tries}, the last {} ago; {next})", visible(error), up(ago))
}

fn up(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
