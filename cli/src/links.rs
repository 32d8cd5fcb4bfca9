//! Web addresses in a line: where they are, and whether a terminal can make them clickable (OSC 8).
//! Writing the escape sequence is left to `output`.

use std::ops::Range;

/// Longer ones are no address that anybody clicks; terminals cut at about this length.
const URL_BYTES_MAX: usize = 2_048;
/// tmux passes links on from this version.
const TMUX_VERSION_MIN: (u32, u32) = (3, 4);

/// Where the addresses of a text are, in bytes. The punctuation of the sentence around one is not
/// part of it; a closing bracket is, if its opening one is inside.
pub fn urls(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) =
        ["https://", "http://"].iter().filter_map(|s| text[from..].find(s)).min()
    {
        let start = from + start;
        let rest = &text[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "<>\"`".contains(c));
        let mut url = &rest[..end.unwrap_or(rest.len())];
        while let Some(last) = url.chars().next_back() {
            let open = match last {
                ')' => '(',
                ']' => '[',
                '.' | ',' | ';' | ':' | '!' | '?' | '\'' => '\0',
                _ => break,
            };
            if open != '\0' && url.matches(open).count() >= url.matches(last).count() {
                break;
            }
            url = &url[..url.len() - last.len_utf8()];
        }
        from = start + url.len().max(1);
        let host = url.split_once("://").is_some_and(|(_, host)| !host.is_empty());
        if host && url.len() <= URL_BYTES_MAX && url.is_ascii() {
            found.push(start..start + url.len());
        }
    }
    found
}

/// Whether a terminal says that it knows what to do with a link. Most that do not would ignore it;
/// a few print rubbish, so silence means no.
pub fn can_link(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).is_some_and(|v| !v.is_empty());
    let term = variable("TERM").unwrap_or_default();
    let program = variable("TERM_PROGRAM").unwrap_or_default();
    if program == "tmux" || term.starts_with("tmux") || term.starts_with("screen") {
        let version = variable("TERM_PROGRAM_VERSION").unwrap_or_default();
        let mut parts = version.split('.').map(|p| {
            let digits: String = p.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().unwrap_or_default()
        });
        let version = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        return program == "tmux" && version >= TMUX_VERSION_MIN;
    }
    let vte = variable("VTE_VERSION").and_then(|v| v.parse::<u32>().ok()).unwrap_or_default();
    vte >= 5_000
        || ["KITTY_WINDOW_ID", "WT_SESSION", "KONSOLE_VERSION", "DOMTERM"].iter().any(|n| set(n))
        || ["iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio"].contains(&program.as_str())
        || ["kitty", "alacritty", "foot", "wezterm", "ghostty", "contour"]
            .iter()
            .any(|t| term.trim_start_matches("xterm-").starts_with(t))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        urls(text).into_iter().map(|r| &text[r]).collect()
    }

    #[test]
    fn addresses_end_where_the_sentence_goes_on() {
        assert_eq!(
            found("see https://example.org/a, or http://b.c."),
            ["https://example.org/a", "http://b.c"]
        );
        assert_eq!(found("(https://en.example/wiki/A_(b))"), ["https://en.example/wiki/A_(b)"]);
        assert_eq!(found("<https://example.org/?q=1&x=ü>"), Vec::<&str>::new());
        assert_eq!(found("https://, http:// and xhttps://y.z"), ["https://y.z"]);
        assert!(found(&format!("https://{}", "x".repeat(5_000))).is_empty());
    }

    #[test]
    fn a_terminal_has_to_say_that_it_can() {
        let with = |pairs: &'static [(&str, &str)]| {
            can_link(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert!(!with(&[]) && !with(&[("TERM", "linux")]) && !with(&[("TERM", "xterm-256color")]));
        assert!(with(&[("TERM", "xterm-kitty")]) && with(&[("VTE_VERSION", "7006")]));
        assert!(!with(&[("VTE_VERSION", "7006"), ("TERM", "screen-256color")]), "an older screen");
        let tmux = |v| match v {
            "3.4" => with(&[("TERM_PROGRAM", "tmux"), ("TERM_PROGRAM_VERSION", "3.4")]),
            _ => with(&[("TERM_PROGRAM", "tmux"), ("TERM_PROGRAM_VERSION", "3.3a")]),
        };
        assert!(tmux("3.4") && !tmux("3.3a"));
    }
}
