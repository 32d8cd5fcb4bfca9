//! The terminal itself: taken over, given back whatever happens, and written to. While it is taken
//! over, the program's log and its panics go to memory instead of over the picture.

use std::collections::VecDeque;
use std::io::{self, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste,
    EnableFocusChange, EnableMouseCapture,
};
use crossterm::execute;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::layout::Rect;
use tracing_subscriber::fmt::MakeWriter;

use super::draw;
use super::paint::{Links, Paint};
use super::state::State;

/// Log lines kept until the screen shows them.
const LINES_MAX: usize = 200;
/// Bytes of one log line.
const LINE_BYTES_MAX: usize = 1_000;

static TAKEN: AtomicBool = AtomicBool::new(false);
static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// The terminal, taken over for as long as this lives.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<Paint<Stdout>>,
    links: Links,
    mouse: bool,
}

impl Screen {
    /// Takes it over.
    pub fn enter(mouse: bool) -> io::Result<Self> {
        catch_panics();
        let links = Links::default();
        let terminal = Terminal::new(Paint::new(io::stdout(), links.clone()))?;
        let mut screen = Self { terminal, links, mouse };
        screen.take()?;
        Ok(screen)
    }

    fn take(&mut self) -> io::Result<()> {
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
        if self.mouse {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        self.repaint()
    }

    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        self.terminal.size().map_or((80, 24), |s| (s.width, s.height))
    }

    /// Draws.
    pub fn draw(&mut self, state: &State) -> io::Result<()> {
        // A terminal that does not read stops this thread; the node must go on.
        tokio::task::block_in_place(|| {
            execute!(io::stdout(), BeginSynchronizedUpdate)?;
            let links = &self.links;
            self.terminal.draw(|frame| {
                let found = draw::draw(state, frame);
                if state.settings.links {
                    *links.lock().unwrap_or_else(PoisonError::into_inner) = found;
                }
            })?;
            execute!(io::stdout(), EndSynchronizedUpdate)
        })
    }

    /// Forgets what is on the screen, so that everything is painted.
    pub fn repaint(&mut self) -> io::Result<()> {
        // Not by `clear`, which asks the terminal where its cursor is: not every terminal answers.
        let (columns, rows) = self.size();
        self.terminal.resize(Rect::new(0, 0, columns, rows))
    }

    /// Writes a sequence that shows nothing.
    pub fn write(&mut self, sequence: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(sequence.as_bytes())?;
        out.flush()
    }

    /// Gives the terminal to the shell and asks for the stop. It comes when the system has handed the
    /// signal to one of our threads, which may be after this has returned: the terminal is taken
    /// again by [`Self::retake`] only once we were continued, for until then the shell sets it as
    /// it likes.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // As a terminal would have done it: to everything that runs in this job.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        Ok(())
    }

    /// Takes the terminal again after a stop, whoever asked for it: the shell had it meanwhile.
    pub fn retake(&mut self) -> io::Result<()> {
        // What is in raw mode already would not be set again.
        let _ = disable_raw_mode();
        self.take()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        let panic = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(text) = panic {
            let _ = writeln!(io::stderr(), "{}", crate::output::visible_lines(&text));
        }
    }
}

/// Leaves the terminal as it was. What cannot be written to a terminal that is gone does not
/// matter.
fn give_back() {
    let _ = execute!(
        io::stdout(),
        EndSynchronizedUpdate,
        DisableMouseCapture,
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        crossterm::cursor::Show
    );
    let _ = disable_raw_mode();
    TAKEN.store(false, Ordering::SeqCst);
}

/// A panic of any task is told once the terminal is given back; the task that draws gives it back
/// by being dropped.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if TAKEN.load(Ordering::SeqCst) {
                *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(info.to_string());
            } else {
                usual(info);
            }
        }));
    });
}

/// Log lines since the last call.
pub fn logged() -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
}

/// Where the program's log goes: stderr, or memory while the terminal is taken over.
#[derive(Debug, Clone, Copy)]
pub struct Log;

/// One line of it.
#[derive(Debug)]
pub enum LogLine {
    /// To stderr.
    Out(io::Stderr),
    /// To memory.
    Kept(Vec<u8>),
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        if TAKEN.load(Ordering::SeqCst) {
            LogLine::Kept(Vec::new())
        } else {
            LogLine::Out(io::stderr())
        }
    }
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Out(out) => out.write(bytes),
            Self::Kept(line) => {
                let space = LINE_BYTES_MAX.saturating_sub(line.len());
                line.extend_from_slice(&bytes[..bytes.len().min(space)]);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Out(out) => out.flush(),
            Self::Kept(_) => Ok(()),
        }
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if let Self::Kept(line) = self {
            let text = String::from_utf8_lossy(line).trim().to_owned();
            let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() >= LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(text);
        }
    }
}
