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
pub type Typed = Result<String, String>;

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
        return Some(Err(format!(
            "a line of more than {LINE_BYTES_MAX} bytes was not sent: split it"
        )));
    }
    Some(String::from_utf8(line).map_err(|_| "a line that is not UTF-8 was not sent".to_owned()))
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
        bytes.extend_from_slice(b"\nnext\n\xff\xfe\nlast");
        let mut input = &bytes[..];
        assert!(read_line(&mut input).unwrap().is_err());
        assert_eq!(read_line(&mut input).unwrap().unwrap(), "next\n");
        assert!(read_line(&mut input).unwrap().is_err());
        assert_eq!(read_line(&mut input).unwrap().unwrap(), "last");
        assert!(read_line(&mut input).is_none());
    }
}
