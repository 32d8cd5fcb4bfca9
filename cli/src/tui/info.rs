//! What is said between the timeline and the text: a question, completions, a remark, who is
//! typing.

use super::complete::Completing;
use super::state::State;
use super::text::{clean, wrap};

/// Screens of fewer rows show completions in one line.
pub const LIST_ROWS_MIN: u16 = 14;
/// Completions shown at once.
const CANDIDATES_SHOWN: usize = 8;
/// Rows of a remark, where the screen has them.
const ROWS_MAX: usize = 3;

/// How it sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Waits for an answer.
    Question,
    /// Must not be overlooked.
    Warning,
    /// A remark.
    Remark,
    /// Of passing interest.
    Quiet,
}

/// What is said now, if anything.
pub fn text(state: &State) -> Option<(String, Tone)> {
    if let Some((question, _)) = &state.question {
        return Some((format!("{question} y = yes, any other key = no"), Tone::Question));
    }
    if let Some(question) = super::paste::question(state) {
        return Some((question, Tone::Question));
    }
    // Where there is space it is a list over the timeline.
    if let (Some(completing), true) = (&state.composer.completing, state.size.1 < LIST_ROWS_MIN) {
        return Some((candidates(completing), Tone::Remark));
    }
    if let Some(note) = &state.note {
        return Some(match note.warning {
            true => (format!("! {}", note.text), Tone::Warning),
            false => (note.text.clone(), Tone::Remark),
        });
    }
    let (name, _) = state.here.and_then(|room| state.typing.get(&room))?;
    Some((format!("{} is typing…", clean(name)), Tone::Quiet))
}

/// The same as rows of a screen, at least one.
pub fn rows(state: &State, columns: usize) -> (Vec<String>, Tone) {
    let Some((text, tone)) = text(state) else { return (vec![String::new()], Tone::Quiet) };
    let mut rows = wrap(&text, columns.saturating_sub(2));
    rows.truncate(ROWS_MAX);
    (rows, tone)
}

fn candidates(completing: &Completing) -> String {
    let n = completing.candidates.len();
    let first =
        completing.at.saturating_sub(CANDIDATES_SHOWN / 2).min(n.saturating_sub(CANDIDATES_SHOWN));
    let shown = completing.candidates.iter().enumerate().skip(first).take(CANDIDATES_SHOWN);
    let shown = shown.map(
        |(at, (_, shown))| if at == completing.at { format!("[{shown}]") } else { shown.clone() },
    );
    format!("{}/{n}  {}  (Tab)", completing.at + 1, shown.collect::<Vec<_>>().join("  "))
}
