//! Links in texts: where they stand in a line, which of them are on the screen, and how a terminal
//! is told where they lead (OSC 8), so that a link that is broken over two rows is still one.

use ratatui::layout::Rect;

use super::text::{clean, width, wrap};

/// Schemes that are links. Nothing else is offered to be opened by a click.
const SCHEMES: [&str; 3] = ["https://", "http://", "gemini://"];
/// Longer ones are not told to the terminal; many cut them, and then they lead elsewhere.
const LINK_BYTES_MAX: usize = 2_000;
/// Links on one screen that are told.
const LINKS_MAX: usize = 200;

/// A piece of a link in one row of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Row.
    pub y: u16,
    /// First column.
    pub x: u16,
    /// Columns.
    pub columns: u16,
    /// Where it leads. Printable ASCII only.
    pub to: String,
}

/// Where links stand in a line, in bytes.
pub fn find(line: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = next(line, from) {
        let rest = &line[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "<>\"`".contains(c));
        let link = trimmed(&rest[..end.unwrap_or(rest.len())]);
        let has_host = SCHEMES.iter().any(|s| {
            link.strip_prefix(s).is_some_and(|host| host.starts_with(|c: char| c.is_alphanumeric()))
        });
        from = start + link.len().max(1);
        while !line.is_char_boundary(from) {
            from += 1;
        }
        if has_host {
            found.push(start..start + link.len());
        }
    }
    found
}

fn next(line: &str, from: usize) -> Option<usize> {
    let rest = line.get(from..)?;
    SCHEMES
        .iter()
        .flat_map(|s| rest.match_indices(s))
        .map(|(at, _)| from + at)
        // Within a word it is a part of something else.
        .filter(|at| !line[..*at].ends_with(|c: char| c.is_alphanumeric()))
        .min()
}

/// Without the marks that end a sentence, and without a closing bracket that was opened before.
fn trimmed(link: &str) -> &str {
    let mut link = link;
    loop {
        let Some(last) = link.chars().next_back() else { return link };
        let closes = match last {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' => true,
            ')' => link.matches(')').count() > link.matches('(').count(),
            ']' => link.matches(']').count() > link.matches('[').count(),
            '}' => link.matches('}').count() > link.matches('{').count(),
            _ => false,
        };
        if !closes {
            return link;
        }
        link = &link[..link.len() - last.len_utf8()];
    }
}

/// The links of a text, each once, in its order.
pub fn of(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in text.lines() {
        for range in find(line) {
            let link = line[range].to_owned();
            if !all.contains(&link) {
                all.push(link);
            }
        }
    }
    all
}

/// The address as a terminal may be told it: bytes that are not printable ASCII are escaped as in
/// any address, so nothing in it can end the sequence.
fn told(link: &str) -> Option<String> {
    let mut out = String::with_capacity(link.len());
    for byte in link.bytes() {
        match byte {
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    (out.len() <= LINK_BYTES_MAX).then_some(out)
}

/// Where the links of a text lie once it is wrapped at so many columns: row, first column, columns,
/// address. A link that was broken has a piece in each of its rows.
pub fn in_text(text: &str, columns: usize) -> Vec<(usize, usize, usize, String)> {
    let mut pieces = Vec::new();
    let mut first = 0;
    for line in text.trim_end_matches(['\r', '\n']).split('\n') {
        let rows = wrap(line, columns);
        let line = clean(line.strip_suffix('\r').unwrap_or(line));
        let links: Vec<_> = find(&line)
            .into_iter()
            .filter_map(|range| told(&line[range.clone()]).map(|to| (range, to)))
            .collect();
        let mut at = 0;
        for (n, row) in rows.iter().enumerate().filter(|_| !links.is_empty()) {
            // Blanks at the edge of a row were left out.
            let Some(skipped) = line.get(at..).and_then(|rest| rest.find(row.as_str())) else {
                break;
            };
            at += skipped;
            for (range, to) in &links {
                let (start, end) = (range.start.max(at), range.end.min(at + row.len()));
                if start < end {
                    let (before, shown) = (width(&line[at..start]), width(&line[start..end]));
                    pieces.push((first + n, before, shown, to.clone()));
                }
            }
            at += row.len();
        }
        first += rows.len();
    }
    pieces
}

/// The pieces that lie within an area, at most so many as a screen should have.
pub fn within(area: Rect, pieces: Vec<Piece>) -> Vec<Piece> {
    let mut pieces = pieces;
    pieces.retain(|p| p.y >= area.top() && p.y < area.bottom() && p.columns > 0);
    pieces.truncate(LINKS_MAX);
    pieces
}

/// Whether the terminal says that it knows OSC 8. Others would mostly ignore it; a few print it.
pub fn terminal_can(environment: impl Fn(&str) -> Option<String>) -> bool {
    let has = |name: &str| environment(name).is_some_and(|v| !v.is_empty());
    let terminal = environment("TERM").unwrap_or_default();
    let program = environment("TERM_PROGRAM").unwrap_or_default();
    let version = |name: &str| environment(name).and_then(|v| v.parse::<u32>().ok());
    // Within a multiplexer it is that which has to know: tmux does since 3.4 and says which it is.
    if terminal.starts_with("screen") || terminal.starts_with("tmux") || has("TMUX") {
        let tmux = environment("TERM_PROGRAM_VERSION").unwrap_or_default();
        let mut parts = tmux.split(|c: char| !c.is_ascii_digit()).map_while(|p| p.parse().ok());
        let newer = (parts.next(), parts.next()) >= (Some(3_u32), Some(4_u32));
        return program == "tmux" && newer;
    }
    version("VTE_VERSION").is_some_and(|v| v >= 5_000)
        || version("KONSOLE_VERSION").is_some_and(|v| v >= 210_000)
        || has("WT_SESSION")
        || has("KITTY_WINDOW_ID")
        || ["iTerm.app", "WezTerm", "ghostty", "vscode", "rio", "Hyper", "contour"]
            .contains(&program.as_str())
        || ["foot", "alacritty", "xterm-kitty", "xterm-ghostty", "contour", "wezterm", "mlterm"]
            .iter()
            .any(|known| terminal.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_end_where_people_mean_them_to_end() {
        let links = |text: &str| of(text);
        assert_eq!(links("see https://example.org/a_(b), ok?"), ["https://example.org/a_(b)"]);
        assert_eq!(links("(http://example.org/x)."), ["http://example.org/x"]);
        assert_eq!(links("<https://a.example>\nhttps://a.example"), ["https://a.example"]);
        assert_eq!(links("https://日本.example/ö!"), ["https://日本.example/ö"]);
        for none in
            ["https://", "http:// x", "xhttps://a.example", "javascript://x", "www.x.example"]
        {
            assert_eq!(links(none), Vec::<String>::new(), "{none}");
        }
    }

    #[test]
    fn a_link_broken_over_rows_is_one_link() {
        let text = "none\nlook: https://example.org/long/path?q=1 and more";
        let whole = "https://example.org/long/path?q=1".to_owned();
        assert_eq!(wrap(text, 20)[1..4], ["look:", "https://example.org/", "long/path?q=1 and"]);
        assert_eq!(in_text(text, 20), [(2, 0, 20, whole.clone()), (3, 0, 13, whole)]);
        // Two links in two rows that are full are two.
        let two = in_text("https://a.example/12 https://b.example/34", 20);
        assert_eq!(
            two.iter().map(|p| p.3.as_str()).collect::<Vec<_>>(),
            ["https://a.example/12", "https://b.example/34"]
        );
        assert_eq!(in_text("no links", 20), []);
    }

    #[test]
    fn no_address_can_end_its_sequence() {
        let told = told("https://x.example/\u{1b}]8;;\u{7}ö \u{9c}").unwrap();
        assert!(told.bytes().all(|b| (b'!'..=b'~').contains(&b)), "{told}");
        assert_eq!(super::told(&format!("https://x.example/{}", "a".repeat(3_000))), None);
    }

    #[test]
    fn only_terminals_that_say_so_are_told() {
        let can = |pairs: &[(&str, &str)]| {
            terminal_can(|name| {
                pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
            })
        };
        assert!(can(&[("TERM", "xterm-256color"), ("VTE_VERSION", "7600")]));
        assert!(can(&[("TERM", "xterm-kitty")]) && can(&[("TERM_PROGRAM", "iTerm.app")]));
        assert!(!can(&[("TERM", "xterm-256color")]) && !can(&[("TERM", "linux")]));
        let tmux = |version| {
            [("TERM", "tmux-256color"), ("TERM_PROGRAM", "tmux"), ("TERM_PROGRAM_VERSION", version)]
        };
        assert!(can(&tmux("3.5a")) && can(&tmux("3.4")) && !can(&tmux("3.3a")));
        assert!(!can(&[("TERM", "screen-256color"), ("VTE_VERSION", "7600")]));
    }
}
