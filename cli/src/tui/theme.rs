//! Colours and signs. Each colour stands beside a sign or a word that says the same, so nothing is
//! lost without colours.

use klatch_core::event::{Delivery, Path};
use klatch_core::ids::{DeviceId, IdentityId};
use ratatui::style::{Color, Modifier, Style};

use super::settings::Settings;

/// Which colours the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Palette {
    /// The 256 that nearly all have: they look alike everywhere.
    #[default]
    Many,
    /// The 16 of a console.
    Sixteen,
}

impl Palette {
    /// By what the terminal says it is.
    pub fn of(terminal: &str) -> Self {
        match terminal {
            "linux" | "vt220" | "cygwin" | "ansi" | "xterm" | "screen" | "rxvt" => Self::Sixteen,
            _ => Self::Many,
        }
    }
}

/// Colours for names, each readable on black and on white (see the test). Red, and yellow as it
/// stands for mentions, are not among them.
const MANY: [u8; 16] = [29, 31, 33, 64, 67, 69, 98, 99, 100, 132, 133, 135, 136, 163, 166, 169];
/// The same where there are only 16. Blue is nearly black on many consoles, yellow and red warn.
const SIXTEEN: [Color; 6] = [
    Color::Cyan,
    Color::Green,
    Color::Magenta,
    Color::LightCyan,
    Color::LightGreen,
    Color::LightMagenta,
];

/// How things look.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    color: bool,
    palette: Palette,
}

impl Theme {
    /// With or without colours.
    pub fn new(settings: &Settings) -> Self {
        Self { color: settings.color, palette: settings.palette }
    }

    fn fg(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// Frames and separators.
    pub fn frame(self) -> Style {
        self.dim()
    }

    /// Less important.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Headings and what is new.
    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What a key acts on.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Must not be overlooked.
    pub fn warning(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Good news.
    pub fn good(self) -> Style {
        self.fg(Color::Green)
    }

    /// The user is called.
    pub fn mention(self) -> Style {
        self.fg(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// A name; the same person has the same colour on each of their devices.
    pub fn name(self, person: Option<IdentityId>, device: DeviceId, own: bool) -> Style {
        if own {
            return self.bold();
        }
        let id = person.map_or(device.0, |p| p.0);
        // The first bytes of a key are as good as chance.
        let pick = usize::from(id[0]) << 8 | usize::from(id[1]);
        self.fg(match self.palette {
            Palette::Many => Color::Indexed(MANY[pick % MANY.len()]),
            Palette::Sixteen => SIXTEEN[pick % SIXTEEN.len()],
        })
    }

    /// A delivery state.
    pub fn delivery(self, state: Delivery) -> Style {
        match state {
            Delivery::Failed => self.warning(),
            Delivery::Delivered { n, m } if n >= m && m > 0 => self.good(),
            Delivery::Read => self.good(),
            _ => self.dim(),
        }
    }
}

/// A delivery state as a sign and, where there is space, a word or a count.
pub fn delivery(state: Delivery, wide: bool) -> String {
    let (sign, word) = match state {
        Delivery::Queued => ("…", "queued".to_owned()),
        Delivery::Sent => ("↑", "sent".to_owned()),
        Delivery::Relayed => ("⇪", "relayed".to_owned()),
        Delivery::Delivered { n, m } if n >= m && m > 0 => ("✓✓", format!("{n}/{m}")),
        Delivery::Delivered { n, m } => ("✓", format!("{n}/{m}")),
        Delivery::Read => ("✓✓", "read".to_owned()),
        Delivery::Failed => ("!", "failed".to_owned()),
    };
    if wide { format!("{sign} {word}") } else { sign.to_owned() }
}

/// The signs in words, for the help.
pub const DELIVERY_LEGEND: &str = "… queued: only here · ↑ sent: on the way · ⇪ relayed: a relay keeps it · ✓ 2/3 delivered to 2 of 3 · ✓✓ 3/3 to all · ✓✓ read · ! failed";

/// The way to a peer, in a word.
pub fn path(path: Path) -> &'static str {
    match path {
        Path::Loopback => "local",
        Path::Lan => "lan",
        Path::Direct => "direct",
        Path::Relay => "relay",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of a colour of the 6x6x6 cube, as WCAG counts it.
    fn luminance(index: u8) -> f64 {
        let levels = [0.0, 95.0, 135.0, 175.0, 215.0, 255.0_f64];
        let n = usize::from(index - 16);
        let linear = |level: f64| match level / 255.0 {
            c if c <= 0.039_28 => c / 12.92,
            c => ((c + 0.055) / 1.055).powf(2.4),
        };
        0.2126 * linear(levels[n / 36])
            + 0.7152 * linear(levels[n / 6 % 6])
            + 0.0722 * linear(levels[n % 6])
    }

    #[test]
    fn names_are_readable_on_black_and_on_white() {
        for index in MANY {
            let l = luminance(index);
            let (on_black, on_white) = ((l + 0.05) / 0.05, 1.05 / (l + 0.05));
            assert!(on_black >= 4.5 && on_white >= 3.0, "{index}: {on_black:.1}, {on_white:.1}");
        }
        // Dark blue on black is what nobody can read.
        assert!((luminance(18) + 0.05) / 0.05 < 2.0);
        assert!(!SIXTEEN.contains(&Color::Blue) && !SIXTEEN.contains(&Color::Black));
    }

    #[test]
    fn a_person_has_one_colour_on_all_devices_and_people_differ() {
        let theme = Theme::new(&Settings::default());
        let person = Some(IdentityId([7; 32]));
        let [a, b] = [1, 2].map(|n| theme.name(person, DeviceId([n; 32]), false));
        assert_eq!(a, b);
        let colours: std::collections::BTreeSet<String> = (0..64)
            .map(|n| {
                format!("{:?}", theme.name(Some(IdentityId([n; 32])), DeviceId([1; 32]), false))
            })
            .collect();
        assert!(colours.len() > 10, "{colours:?}");
    }
}
