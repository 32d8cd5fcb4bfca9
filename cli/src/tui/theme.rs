//! Colours and signs. Each colour stands beside a sign or a word that says the same, so nothing is
//! lost without colours.

use klatch_core::event::{Delivery, Path};
use klatch_core::ids::DeviceId;
use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    color: bool,
}

impl Theme {
    /// With or without colours.
    pub fn new(color: bool) -> Self {
        Self { color }
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

    /// A name; the same person always has the same colour.
    pub fn name(self, device: DeviceId, own: bool) -> Style {
        const COLORS: [Color; 6] = [
            Color::Cyan,
            Color::Green,
            Color::Magenta,
            Color::Blue,
            Color::LightCyan,
            Color::LightMagenta,
        ];
        if own {
            return self.bold();
        }
        self.fg(COLORS[usize::from(device.0[0]) % COLORS.len()])
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
