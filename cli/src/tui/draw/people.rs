//! The list at the right: who is here, by which way, and when the others were last heard.

use klatch_core::query::{Member, PeerSummary};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::rows::clock;
use super::super::state::State;
use super::super::text::{clean, fit_marked, width};
use super::super::theme::{Theme, path};
use super::{left_edge, put};

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if area.width < 6 {
        return;
    }
    let area = left_edge(buffer, area, theme.frame());
    let columns = usize::from(area.width);
    put(buffer, area, 0, &Line::styled(" PEOPLE", theme.bold()));
    let members: &[Member] =
        state.here.and_then(|room| state.members.get(&room)).map_or(&[], Vec::as_slice);
    let height = usize::from(area.height);
    let space = height.saturating_sub(2);
    for (n, member) in members.iter().take(space).enumerate() {
        put(buffer, area, n + 1, &person(state, theme, member, columns));
    }
    if members.len() > space {
        put(
            buffer,
            area,
            space + 1,
            &Line::styled(format!("   and {} more", members.len() - space), theme.dim()),
        );
    }
}

fn person(state: &State, theme: Theme, member: &Member, columns: usize) -> Line<'static> {
    let silent = peer_of(state, member).is_some_and(|p| p.overdue_ms.is_some());
    // Without the node nobody knows.
    let known = state.down.is_none();
    let online = known && ((member.online && !silent) || member.own);
    let sign = match (online, known && silent && member.online) {
        (true, _) => "●",
        (_, true) => "◌",
        _ => "○",
    };
    let right = match (member.own, member.muted, member.forked) {
        (true, ..) => "you".to_owned(),
        (_, true, _) => "muted".to_owned(),
        (.., true) => "2 histories!".to_owned(),
        _ if !known => String::new(),
        _ => way(state, member),
    };
    let room = columns.saturating_sub(width(&right) + 4);
    let name = if member.name.is_empty() { member.device.short() } else { clean(&member.name) };
    let name = fit_marked(&name, member.name_mark.as_deref(), room);
    let colour = theme.name(member.identity, member.device, member.own);
    Line::from(vec![
        Span::styled(format!(" {sign} "), if online { theme.good() } else { theme.dim() }),
        Span::styled(name, if silent && member.online { theme.dim() } else { colour }),
        Span::styled(format!(" {right}"), theme.dim()),
    ])
}

/// The link to a member, if there is one only. Who is at its other end was signed: a name is a
/// claim.
fn peer_of<'a>(state: &'a State, member: &Member) -> Option<&'a PeerSummary> {
    let mut named = state
        .status
        .iter()
        .flat_map(|s| &s.peers)
        .filter(|p| p.identity.is_some() && p.identity == member.identity);
    let one = named.next();
    if named.next().is_some() { None } else { one }
}

/// By which way somebody is connected and how long a round trip takes; that they do not answer; or
/// when they were last heard.
fn way(state: &State, member: &Member) -> String {
    if !member.online {
        return ago(state, member.last_seen_ms);
    }
    match peer_of(state, member) {
        Some(peer) if peer.overdue_ms.is_some() => "no answer".to_owned(),
        Some(peer) => peer.rtt_ms.map_or_else(
            || path(peer.path).to_owned(),
            |rtt| format!("{} {rtt} ms", path(peer.path)),
        ),
        None => "online".to_owned(),
    }
}

fn ago(state: &State, at_ms: u64) -> String {
    if at_ms == 0 {
        return "never heard".to_owned();
    }
    let minutes = state.now_ms.saturating_sub(at_ms) / 60_000;
    match minutes {
        0..2 => "just now".to_owned(),
        2..60 => format!("{minutes} min ago"),
        60..1_440 => clock(at_ms, &state.zone),
        _ => format!("{} d ago", minutes / 1_440),
    }
}
