//! Completion: commands and their arguments from the table of slash commands, names, rooms, emoji.
//! What can follow is offered while one types; Tab takes it.

use klatch_core::content::Kind;
use klatch_core::query::Member;

use super::state::State;
use crate::lines::marked;
use crate::slash::{self, TABLE, Takes};

/// Candidates offered at once.
const CANDIDATES_MAX: usize = 50;

/// A word that is being completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completing {
    /// Where the word begins in its line, in characters.
    pub from: usize,
    /// What may stand there: what is put in, and how it is shown.
    pub candidates: Vec<(String, String)>,
    /// Which of them stands there now.
    pub at: usize,
}

/// Tab or Shift+Tab. `false` if there is nothing to complete.
pub fn tab(state: &mut State, back: bool) -> bool {
    let mut completing = match state.composer.completing.take() {
        Some(mut completing) => {
            let n = completing.candidates.len();
            completing.at = (completing.at + if back { n - 1 } else { 1 }) % n;
            completing
        }
        None => match offer(state) {
            Some((from, candidates)) if !candidates.is_empty() => {
                Completing { from, candidates, at: 0 }
            }
            _ => return false,
        },
    };
    let Some((text, _)) = completing.candidates.get(completing.at) else { return false };
    state.composer.replace_word(completing.from, text);
    if completing.candidates.len() == 1 {
        completing.candidates.clear();
    }
    state.composer.completing = Some(completing).filter(|c| !c.candidates.is_empty());
    true
}

/// What is offered while one types, before Tab: how it is shown. It opens where a command, a room, a
/// person or an emoji begins, and narrows with each key.
pub fn offered(state: &State) -> Vec<String> {
    let composer = &state.composer;
    let commanding = composer.vi.is_some_and(|vi| vi.normal);
    if !state.settings.suggest || composer.closed || composer.completing.is_some() || commanding {
        return Vec::new();
    }
    let (before, first, _) = composer.before_cursor();
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let argument = if first { slash::unfinished(&before) } else { None };
    let opens = match argument.map(|a| a.takes) {
        Some(Takes::Text) | None => word.starts_with(['@', '#', ':']),
        Some(Takes::Number) => false,
        Some(_) => true,
    };
    if !opens || composer.is_empty() {
        return Vec::new();
    }
    match offer(state) {
        // What is there already needs no list.
        Some((_, found)) if !matches!(found.as_slice(), [(text, _)] if text.trim() == word) => {
            found.into_iter().map(|(_, shown)| shown).collect()
        }
        _ => Vec::new(),
    }
}

/// The word before the cursor and what it may become.
fn offer(state: &State) -> Option<(usize, Vec<(String, String)>)> {
    let (before, first, at) = state.composer.before_cursor();
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let from = at - word.chars().count();
    let argument = if first { slash::unfinished(&before) } else { None };
    let mut found = match argument.as_ref().map(|a| a.takes) {
        Some(Takes::Command) => {
            commands(word.trim_start_matches('/'), before.starts_with('/') && from == 0)
        }
        Some(Takes::Room) => rooms(state, word),
        Some(Takes::Person) => people(state, word, " ", true),
        Some(Takes::Words(words)) => simple(words.iter().copied(), word),
        Some(Takes::Emoji) => emoji(word.trim_start_matches(':')),
        Some(Takes::Message) => simple(["^", "^2", "^3"].into_iter(), word),
        Some(Takes::Number) => Vec::new(),
        Some(Takes::Text) | None => text(state, word, from == 0 && first),
    };
    found.truncate(CANDIDATES_MAX);
    Some((from, found))
}

fn text(state: &State, word: &str, starts: bool) -> Vec<(String, String)> {
    match word.chars().next() {
        Some('#') => rooms(state, word),
        Some(':') if word[1..].starts_with(|c: char| c.is_alphanumeric()) => emoji(&word[1..]),
        Some('@') => people(state, word, " ", false),
        Some(':') | None => Vec::new(),
        // At the beginning of a text a name is a salutation.
        Some(_) => people(state, word, if starts { ": " } else { " " }, false),
    }
}

fn commands(word: &str, slash: bool) -> Vec<(String, String)> {
    let slash = if slash { "/" } else { "" };
    let low = word.to_lowercase();
    let shown = |left: String, help: &str| format!("{} {help}", super::text::fit(&left, 27));
    let names = TABLE
        .iter()
        .filter(|r| r.name.starts_with(&low))
        .map(|r| (r.name, shown(r.usage(), r.help)));
    let aliases = TABLE.iter().flat_map(|r| {
        let left = move |a: &str| shown(format!("/{a} = /{}", r.name), r.help);
        r.aliases.iter().map(move |a| (*a, left(a)))
    });
    let aliases = aliases.filter(|(a, _)| !low.is_empty() && a.to_lowercase().starts_with(&low));
    names.chain(aliases).map(|(name, shown)| (format!("{slash}{name} "), shown)).collect()
}

fn simple<'a>(words: impl Iterator<Item = &'a str>, word: &str) -> Vec<(String, String)> {
    words.filter(|w| w.starts_with(word)).map(|w| (format!("{w} "), w.to_owned())).collect()
}

fn rooms(state: &State, word: &str) -> Vec<(String, String)> {
    let low = word.trim_start_matches('#').to_lowercase();
    let rooms = state.chats.iter().filter(|c| !c.is_direct());
    let fits = rooms.filter(|c| c.typed().trim_start_matches('#').to_lowercase().starts_with(&low));
    fits.map(|c| (format!("{} ", c.typed()), c.shown())).collect()
}

/// Names of those here, who spoke last first, then of contacts; of contacts first where anybody can
/// be named, as somebody there may be called like one of them. With `@` if that was typed, and with
/// the mark that tells them from others: of those here, or of all.
fn people(state: &State, word: &str, after: &str, anybody: bool) -> Vec<(String, String)> {
    let at = if word.starts_with('@') { "@" } else { "" };
    let low = word.trim_start_matches('@').to_lowercase();
    let here = state.here.and_then(|room| state.members.get(&room)).into_iter().flatten();
    let here: Vec<&Member> = here.filter(|m| !m.own).collect();
    let spoke = state.timeline().into_iter().flat_map(|t| t.lines.iter().rev());
    let spoke = spoke
        .filter(|m| !m.own && matches!(m.kind, Kind::Text | Kind::Notice))
        .filter_map(|m| here.iter().find(|member| member.device == m.device).copied());
    let member = |m: &Member| {
        let mark = if anybody { &m.typed_mark } else { &m.name_mark };
        marked(m.name.clone(), mark.as_deref())
    };
    let direct = state.chats.iter().filter(|c| c.is_direct());
    let direct = direct.map(|c| c.typed().trim_start_matches('@').to_owned());
    let mut found: Vec<(String, String)> = Vec::new();
    let mut names: Vec<String> = spoke.chain(here.iter().copied()).map(member).collect();
    let contacts_at = if anybody { 0 } else { names.len() };
    names.splice(contacts_at..contacts_at, direct);
    for name in names {
        if !name.is_empty()
            && name.to_lowercase().starts_with(&low)
            && !found.iter().any(|(_, n)| *n == name)
        {
            found.push((format!("{at}{name}{after}"), name));
        }
    }
    for (_, shown) in &mut found {
        *shown = super::text::clean(shown);
    }
    found
}

/// What people put on messages most, offered before a name is typed.
const USUAL: [&str; 10] =
    ["+1", "heart", "joy", "tada", "open_mouth", "cry", "pray", "eyes", "white_check_mark", "fire"];

/// Enter where an emoji is to be named: takes the one that is offered first, unless there is one.
pub fn take_emoji(state: &mut State) {
    let (before, first, _) = state.composer.before_cursor();
    let argument = if first { slash::unfinished(&before) } else { None };
    let is_name = |word: &str| word.chars().any(char::is_alphanumeric);
    let wanted = argument.is_some_and(|a| {
        a.takes == Takes::Emoji && is_name(a.word) && klatch_core::emoji::emoji(a.word).is_none()
    });
    if wanted && state.composer.completing.is_none() {
        tab(state, false);
    }
}

fn emoji(word: &str) -> Vec<(String, String)> {
    let low = word.trim_end_matches(':').to_lowercase();
    if low.is_empty() {
        let usual = USUAL.into_iter().filter_map(|code| {
            let e = emojis::get_by_shortcode(code)?;
            Some((format!("{e} "), format!("{e} :{code}:")))
        });
        return usual.collect();
    }
    let codes = emojis::iter().flat_map(|e| e.shortcodes().map(move |code| (e, code)));
    let mut found: Vec<(&str, &str)> = codes
        .filter(|(_, code)| code.starts_with(&low))
        .map(|(e, code)| (e.as_str(), code))
        .collect();
    // The shortest is the one that was meant; the table's own order decides among equals.
    found.sort_by_key(|(_, code)| code.len());
    found.into_iter().map(|(e, code)| (format!("{e} "), format!("{e} :{code}:"))).collect()
}
