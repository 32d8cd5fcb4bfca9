//! Lines from stdin, read by a thread of their own: reading cannot be interrupted, and must not
//! hold up the rest.

use std::io::{BufRead, Read};

use tokio::sync::mpsc;

/// Lines read ahead; beyond it a pipe waits, as pipes do.
const AHEAD_MAX: usize = 64;
/// The longest line taken. Longer ones than a message can hold are refused by the node with a clear
/// error.
const LINE_BYTES_MAX: u64 = 256 << 10;

/// A line, or why it is none.
pub type Typed = Result<String, Unreadable>;

/// A line that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong with it.
    pub why: &'static str,
    /// What to do about it.
    pub hint: &'static str,
    /// It would have been a command, and nobody knows which.
    pub command: bool,
}

/// Starts reading. The channel ends at the end of input.
pub fn lines() -> mpsc::Receiver<Typed> {
    let (send, receive) = mpsc::channel(AHEAD_MAX);
    // The thread ends with the input or with the process.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        while let Some(line) = read_line(&mut input) {
            if send.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receive
}

fn read_line(input: &mut impl BufRead) -> Option<Typed> {
    let mut line = Vec::new();
    let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).ok()?;
    if read == 0 {
        return None;
    }
    if line.last() != Some(&b'\n') && line.len() as u64 >= LINE_BYTES_MAX {
        skip_line(input);
        return Some(Err(Unreadable {
            why: "a line has more than 262144 bytes",
            hint: "split it into several messages",
            command: line.starts_with(b"/"),
        }));
    }
    Some(String::from_utf8(line).map_err(|e| Unreadable {
        why: "a line is not UTF-8",
        hint: "convert it first, for example with iconv -f latin1 -t utf8",
        command: e.as_bytes().starts_with(b"/"),
    }))
}

fn skip_line(input: &mut impl BufRead) {
    loop {
        let Ok(buffer) = input.fill_buf() else { return };
        let end = buffer.iter().position(|b| *b == b'\n');
        let (used, done) = end.map_or((buffer.len(), buffer.is_empty()), |at| (at + 1, true));
        input.consume(used);
        if done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_said_and_the_next_line_still_comes() {
        let mut bytes = vec![b'x'; 300 << 10];
        bytes.extend_from_slice(b"\nnext\n\xff\xfe\n/join caf\xe9\nlast");
        let mut input = &bytes[..];
        let long = read_line(&mut input).unwrap().unwrap_err();
        assert!(long.why.contains(&LINE_BYTES_MAX.to_string()) && !long.command, "{long:?}");
        assert_eq!(read_line(&mut input).unwrap().unwrap(), "next\n");
        assert!(!read_line(&mut input).unwrap().unwrap_err().command);
        assert!(read_line(&mut input).unwrap().unwrap_err().command);
        assert_eq!(read_line(&mut input).unwrap().unwrap(), "last");
        assert!(read_line(&mut input).is_none());
    }
}
