//! The network view: peers and the ways to them, who is in which room, and what just happened.

use klatch_core::query::Member;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::events::tail;
use super::super::rows::clock;
use super::super::state::State;
use super::super::text::{clean, cut, fit, fit_marked};
use super::super::theme::{Theme, path};
use super::put;
use crate::lines::marked;

/// Round trips as a curve.
const CURVE: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of names.
const NAME_COLUMNS: usize = 14;
/// Columns of the curve.
const CURVE_COLUMNS: usize = 16;

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let height = usize::from(area.height);
    let columns = usize::from(area.width);
    let mut lines = node(state, theme);
    lines.extend(peers(state, theme, columns));
    lines.extend(rooms(state, theme));
    // The log gets at least a third; the rest of the screen belongs to what is above.
    lines.truncate((height * 2 / 3).max(height.saturating_sub(state.log.len() + 1)));
    lines.push(Line::styled("EVENTS", theme.bold()));
    let space = height.saturating_sub(lines.len());
    let end = state.log.len().saturating_sub(state.log_back).max(space.min(state.log.len()));
    let first = end.saturating_sub(space);
    for logged in state.log.range(first..end) {
        lines.push(Line::raw(format!(" {} {}", clock(logged.at_ms, &state.zone), logged.text)));
    }
    for (n, line) in lines.iter().take(height).enumerate() {
        put(buffer, area, n, line);
    }
}

fn node(state: &State, theme: Theme) -> Vec<Line<'static>> {
    let Some(status) = &state.status else {
        return vec![Line::styled("NODE starting", theme.bold())];
    };
    let listening: Vec<String> = status.listening.iter().take(3).map(|a| clean(a)).collect();
    vec![
        Line::from(vec![
            Span::styled("NODE ", theme.bold()),
            Span::raw(format!(
                "{} · up {} s · {} queued",
                tail(&status.peer_id),
                status.uptime_s,
                status.queued
            )),
        ]),
        Line::styled(format!(" listens on {}", listening.join(" ")), theme.dim()),
    ]
}

fn peers(state: &State, theme: Theme, columns: usize) -> Vec<Line<'static>> {
    let peers = state.status.as_ref().map_or(&[][..], |s| s.peers.as_slice());
    let mut lines = vec![Line::styled(format!("PEERS {}", peers.len()), theme.bold())];
    if peers.is_empty() {
        lines.push(Line::styled(
            " nobody is connected: F1, or /doctor, says what to try",
            theme.dim(),
        ));
    }
    for peer in peers {
        let name = peer.name.as_deref().map_or_else(|| "(unknown)".to_owned(), clean);
        let rtt = peer.rtt_ms.map_or_else(|| "? ms".to_owned(), |ms| format!("{ms} ms"));
        let curve =
            state.rtts.get(&peer.peer_id).map(|r| curve(r.iter().copied())).unwrap_or_default();
        let text = format!(
            " {} {} {:>8} {} {} {}",
            fit_marked(&name, peer.name_mark.as_deref(), NAME_COLUMNS),
            fit(path(peer.path), 6),
            rtt,
            fit(&curve, CURVE_COLUMNS),
            tail(&peer.peer_id),
            clean(&peer.address),
        );
        lines.push(Line::raw(cut(&text, columns)));
    }
    lines
}

fn shown(member: &Member) -> String {
    marked(clean(&member.name), member.name_mark.as_deref())
}

/// The newest round trips, each relative to the longest.
fn curve(rtts: impl DoubleEndedIterator<Item = u32> + Clone) -> String {
    let newest: Vec<u32> = rtts.rev().take(CURVE_COLUMNS).collect();
    let longest = newest.iter().copied().max().unwrap_or(0).max(1);
    let step = |rtt: u32| CURVE[(u64::from(rtt) * 7 / u64::from(longest)) as usize % CURVE.len()];
    newest.into_iter().rev().map(step).collect()
}

fn rooms(state: &State, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled("ROOMS", theme.bold())];
    for chat in state.chats.iter().filter(|c| !c.is_direct()) {
        let online: Option<Vec<String>> = state
            .members
            .get(&chat.room)
            .map(|m| m.iter().filter(|m| m.online && !m.own).map(shown).collect());
        let who = match online {
            Some(names) if names.is_empty() => "nobody else".to_owned(),
            Some(names) => names.join(", "),
            None => format!("{} online", chat.online),
        };
        let queued =
            if chat.queued > 0 { format!(" · {} queued", chat.queued) } else { String::new() };
        let name = fit_marked(&clean(&chat.name), chat.mark.as_deref(), NAME_COLUMNS);
        lines.push(Line::raw(format!(" {name} {who}{queued}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_relative_to_its_highest_point() {
        assert_eq!(curve([0, 5, 10].into_iter()), "▁▄█");
        assert_eq!(curve(std::iter::empty::<u32>().collect::<Vec<_>>().into_iter()), "");
        assert_eq!(curve((0..100).collect::<Vec<_>>().into_iter()).chars().count(), CURVE_COLUMNS);
    }
}
