//! What is wrong with a command line, in our words, and one thing to do about it: where the line can
//! be corrected the whole of it, which was read once before it is offered.

use std::num::ParseIntError;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use klatch_node::api::nearest;

use crate::args;
use crate::error::Report;
use crate::hints::shell_word;

/// Longer lines are not said again.
const LINE_CHARS_MAX: usize = 200;

/// The name of a room, typed as it is shown, never arrives here.
const UNQUOTED: &str =
    "a shell takes # for the start of a comment, so quote '#garden' or leave the # out";

/// The error for a line that does not parse, and the profile that the line names; `words` without
/// the program's own name.
pub fn report(error: &clap::Error, words: &[String]) -> (Report, Option<String>) {
    let (profile, words) = without_profile(words);
    let command = args::named(words.iter().map(Into::into));
    let path = command.get_bin_name().unwrap_or("klatch").to_owned();
    let (cause, hint) = Misuse { error, words, path }.explained();
    (Report::usage(cause, hint), profile)
}

/// Hints name the profile by themselves.
fn without_profile(words: &[String]) -> (Option<String>, Vec<String>) {
    let end = words.iter().position(|w| w == "--").unwrap_or(words.len());
    let (options, texts) = words.split_at(end);
    let (mut profile, mut left) = (None, Vec::new());
    let mut options = options.iter();
    while let Some(word) = options.next() {
        match word.strip_prefix("--profile") {
            Some("") => profile = options.next().cloned(),
            Some(value) if value.starts_with('=') => profile = Some(value[1..].to_owned()),
            _ => left.push(word.clone()),
        }
    }
    left.extend_from_slice(texts);
    (profile, left)
}

/// What was typed, and what clap makes of it.
struct Misuse<'a> {
    error: &'a clap::Error,
    /// All words but the program's and the profile's.
    words: Vec<String>,
    /// `klatch peer add`, as far as the words name a command.
    path: String,
}

impl Misuse<'_> {
    /// What failed, and what to try.
    fn explained(&self) -> (String, String) {
        let arg = argument(&self.one(ContextKind::InvalidArg));
        let option = arg.split(' ').next().unwrap_or_default();
        let value = self.one(ContextKind::InvalidValue);
        match self.error.kind() {
            ErrorKind::InvalidSubcommand => self.no_command(),
            ErrorKind::UnknownArgument => self.unknown(&arg),
            ErrorKind::MissingRequiredArgument => self.missing(),
            ErrorKind::InvalidValue if value.is_empty() => {
                let help = if self.is_for_all(option) { "options" } else { self.topic() };
                let cause = format!("{option} needs a value");
                (cause, format!("{arg}; `klatch help {help}` tells more"))
            }
            ErrorKind::InvalidValue => {
                let one_of = || format!("one of {}", self.many(ContextKind::ValidValue).join(", "));
                let near = self.one(ContextKind::SuggestedValue);
                (not_taken(option, &value), self.corrected(&value, &near).unwrap_or_else(one_of))
            }
            ErrorKind::ValueValidation => (not_taken(option, &value), self.taken(&arg)),
            ErrorKind::TooManyValues => {
                let line = self.corrected(&format!("{option}={value}"), option);
                (format!("{option} takes no value"), line.unwrap_or_else(|| self.help("shows how")))
            }
            ErrorKind::ArgumentConflict => {
                let prior = self.many(ContextKind::PriorArg);
                let prior = prior.first().map(|p| argument(p)).unwrap_or_default();
                let prior = prior.split(' ').next().unwrap_or_default();
                if prior == option {
                    return (
                        format!("{option} is given twice"),
                        "leave out one of them".to_owned(),
                    );
                }
                let hint = self.help("tells what each does");
                let cause = format!("{option} and {prior} do not go together");
                (cause, format!("leave out one of them; {hint}"))
            }
            _ => {
                let text = self.error.render().to_string();
                let cause = text.trim_start_matches("error: ").lines().next().unwrap_or_default();
                (cause.to_owned(), self.help("shows how it is written"))
            }
        }
    }

    fn no_command(&self) -> (String, String) {
        let wrong = self.one(ContextKind::InvalidSubcommand);
        let cause = match self.topic() {
            "" => format!("there is no command `{wrong}`"),
            _ => format!("`{}` has no `{wrong}`", self.path),
        };
        let command = args::named(self.path.split(' ').skip(1).map(Into::into));
        let names = command.get_subcommands().filter(|c| !c.is_hide_set());
        let names: Vec<&str> = names.map(clap::Command::get_name).collect();
        let hint = match nearest(&wrong, names.into_iter()) {
            Some(near) => self.corrected(&wrong, near).unwrap_or_else(|| {
                let topic = format!("{} {near}", self.topic());
                format!("`klatch help {}` shows how it is written", topic.trim_start())
            }),
            None => self.help("lists what it has"),
        };
        (cause, hint)
    }

    fn unknown(&self, arg: &str) -> (String, String) {
        let cause = match arg.starts_with('-') {
            true => format!("there is no option {arg}"),
            false => format!("`{arg}` is one word too many"),
        };
        let near = argument(&self.one(ContextKind::SuggestedArg));
        let near = near.split(' ').next().unwrap_or_default();
        let line = self.corrected(arg, near).or_else(|| self.as_text(arg));
        (cause, line.unwrap_or_else(|| self.help("shows what can be given")))
    }

    fn missing(&self) -> (String, String) {
        let missing: Vec<String> =
            self.many(ContextKind::InvalidArg).iter().map(|arg| argument(arg)).collect();
        let cause = format!("something is missing: {}", missing.join(", "));
        let example = args::examples(self.topic()).into_iter().next();
        let hint = match example {
            Some(line) if missing.iter().any(|arg| arg.starts_with("#ROOM")) => {
                format!("`{line}`: {UNQUOTED}")
            }
            Some(line) => format!("`{line}`, for example"),
            None => self.help("shows how it is written"),
        };
        (cause, hint)
    }

    /// What would be taken instead of a value.
    fn taken(&self, arg: &str) -> String {
        let why = std::error::Error::source(self.error);
        let said = why.map(ToString::to_string).unwrap_or_default();
        if why.is_some_and(|why| why.is::<ParseIntError>()) {
            return "a whole number, such as 20".to_owned();
        }
        match said.rsplit_once(" is not in ").and_then(|(_, range)| range.split_once("..=")) {
            Some((least, most)) => format!("a whole number from {least} to {most}"),
            None if said.is_empty() => format!("{arg}; {}", self.help("tells more")),
            None => said,
        }
    }

    /// The line with another word in the place of one, if that makes sense.
    fn corrected(&self, wrong: &str, right: &str) -> Option<String> {
        if right.is_empty() {
            return None;
        }
        let at = self.words.iter().position(|word| {
            let value = word.strip_prefix(wrong);
            value.is_some_and(|v| v.is_empty() || (wrong.starts_with("--") && v.starts_with('=')))
        })?;
        let mut words = self.words.clone();
        words[at] = format!("{right}{}", &self.words[at][wrong.len()..]);
        offered(&words)
    }

    /// The line with everything from this word on taken for text.
    fn as_text(&self, first: &str) -> Option<String> {
        let at = self.words.iter().position(|word| word == first)?;
        let mut words = self.words.clone();
        words.insert(at, "--".to_owned());
        offered(&words)
    }

    /// The command without the program: what `klatch help` takes.
    fn topic(&self) -> &str {
        self.path.strip_prefix("klatch").unwrap_or_default().trim_start()
    }

    fn help(&self, does: &str) -> String {
        match self.topic() {
            "" => "`klatch --help` lists all".to_owned(),
            topic => format!("`klatch help {topic}` {does}"),
        }
    }

    fn is_for_all(&self, option: &str) -> bool {
        args::is_for_every_command(option)
    }

    fn many(&self, kind: ContextKind) -> Vec<String> {
        match self.error.get(kind) {
            Some(ContextValue::String(one)) => vec![one.clone()],
            Some(ContextValue::Strings(all)) => all.clone(),
            _ => Vec::new(),
        }
    }

    fn one(&self, kind: ContextKind) -> String {
        self.many(kind).into_iter().next().unwrap_or_default()
    }
}

fn not_taken(option: &str, value: &str) -> String {
    match option.starts_with('-') {
        true => format!("{option} does not take `{value}`"),
        false => format!("{option} cannot be `{value}`"),
    }
}

/// `<--stdio|--http [<ADDR:PORT>]>` or `<TEXT>...` without the signs of a manual.
fn argument(arg: &str) -> String {
    let inner = arg.strip_prefix('<').and_then(|a| a.strip_suffix('>')).unwrap_or(arg);
    if inner.starts_with("--") && inner.contains("|--") {
        let options = inner.split('|').filter_map(|o| o.split(' ').next());
        return options.collect::<Vec<_>>().join(" or ");
    }
    arg.replace(['<', '>', '[', ']'], "").replace("...", "")
}

/// A whole line, if it is one that this program takes and that can be pasted.
fn offered(words: &[String]) -> Option<String> {
    let line = words.iter().map(|w| shell_word(w)).collect::<Vec<_>>().join(" ");
    let odd = |c: char| c.is_control() || c == '`' || c == '\u{fffd}';
    // A text that names a command would be changed where hints get their profile.
    if line.chars().count() > LINE_CHARS_MAX || line.contains(odd) || line.contains("klatch ") {
        return None;
    }
    let all = ["klatch".to_owned()].into_iter().chain(words.iter().cloned());
    args::parse(all.map(Into::into)).is_ok().then(|| format!("`klatch {line}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &[&str]) -> (Report, Option<String>) {
        let words: Vec<String> = line.iter().map(|w| (*w).to_owned()).collect();
        let all = ["klatch".to_owned()].into_iter().chain(words.iter().cloned());
        report(&args::parse(all.map(Into::into)).unwrap_err(), &words)
    }

    #[test]
    fn only_a_line_that_can_be_pasted_is_offered() {
        let hint = |line: &[&str]| said(line).0.hint;
        assert_eq!(hint(&["send", "x", "a b", "--wiat=sent"]), "`klatch send x 'a b' --wait=sent`");
        // Corrected, it would still be wrong.
        assert_eq!(hint(&["lgo"]), "`klatch help log` shows how it is written");
        assert_eq!(hint(&["lgo", "x"]), "`klatch log x`");
        for text in ["a`b", "a\u{7}b", "say klatch up", &"x".repeat(300)] {
            let hint = hint(&["send", "x", text, "--wiat=sent"]);
            assert_eq!(hint, "`klatch help send` shows what can be given", "{text}");
        }
    }

    #[test]
    fn the_profile_of_a_line_is_known_wherever_it_stands() {
        for line in [
            &["ropms", "--profile", "work"][..],
            &["--profile=work", "ropms"],
            &["ropms", "--profile", "work", "--"],
        ] {
            assert_eq!(said(line).1.as_deref(), Some("work"));
        }
        assert_eq!(said(&["send", "x", "--zz", "--", "--profile", "work"]).1, None);
    }

    #[test]
    fn arguments_are_named_without_the_signs_of_a_manual() {
        for (clap, ours) in [
            ("<--stdio|--http [<ADDR:PORT>]>", "--stdio or --http"),
            ("<#ROOM|@WHO>", "#ROOM|@WHO"),
            ("<TEXT>...", "TEXT"),
            ("--scope <read,send>", "--scope read,send"),
            ("--http [<ADDR:PORT>]", "--http ADDR:PORT"),
        ] {
            assert_eq!(argument(clap), ours);
        }
    }
}
