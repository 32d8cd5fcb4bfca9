//! Cuts what a client sends into lines, within a size and a time.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep_until};

use super::rpc::RpcError;

/// One request: a text of 64,000 bytes, every character escaped, fits several times.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;
/// A request that has begun must end within this; a quiet client may stay for ever.
pub(super) const LINE_TIME_MAX: Duration = Duration::from_secs(5);

/// Cuts a stream into lines, within [`LINE_BYTES_MAX`] and a time. [`LineReader::next`] may be
/// dropped and called again without losing anything.
pub(super) struct LineReader<R> {
    read: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer known to hold no line break.
    seen: usize,
    begun: Option<Instant>,
    patience: Duration,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(read: R, patience: Duration) -> Self {
        Self { read, buffer: Vec::new(), seen: 0, begun: None, patience }
    }

    /// The next line without its break; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, RpcError> {
        loop {
            if let Some(at) = self.buffer[self.seen..].iter().position(|b| *b == b'\n') {
                let rest = self.buffer.split_off(self.seen + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                self.seen = 0;
                self.begun = (!self.buffer.is_empty()).then(Instant::now);
                return Ok(Some(line));
            }
            self.seen = self.buffer.len();
            if self.seen >= LINE_BYTES_MAX {
                return Err(RpcError::invalid(format!(
                    "a request has at most {LINE_BYTES_MAX} bytes"
                )));
            }
            let read = match self.begun {
                None => self.read.read_buf(&mut self.buffer).await,
                Some(begun) => tokio::select! {
                    n = self.read.read_buf(&mut self.buffer) => n,
                    () = sleep_until(begun + self.patience) => {
                        return Err(RpcError::invalid("the request did not end in time; a line break ends it"));
                    }
                },
            };
            match read {
                // Half a line at the end of the stream is taken as a whole one: `printf` forgets
                // the line break.
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => {
                    self.seen = 0;
                    self.begun = None;
                    return Ok(Some(std::mem::take(&mut self.buffer)));
                }
                Ok(_) => {
                    self.begun.get_or_insert_with(Instant::now);
                }
                Err(_) => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn lines_are_cut_wherever_the_stream_is() {
        let (mut tx, rx) = tokio::io::duplex(8);
        tokio::spawn(async move { tx.write_all(b"first\n\nthird is longer\nlast").await });
        let mut reader = LineReader::new(rx, LINE_TIME_MAX);
        for expected in ["first", "", "third is longer", "last"] {
            assert_eq!(reader.next().await.unwrap().unwrap(), expected.as_bytes());
        }
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_at_the_cap() {
        let (mut tx, rx) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { while tx.write_all(&[b'x'; 4096]).await.is_ok() {} });
        assert!(LineReader::new(rx, LINE_TIME_MAX).next().await.is_err());
    }

    #[tokio::test]
    async fn only_a_request_that_has_begun_can_time_out() {
        let (mut tx, rx) = tokio::io::duplex(64);
        let mut reader = LineReader::new(rx, Duration::from_millis(20));
        assert!(
            timeout(Duration::from_millis(100), reader.next()).await.is_err(),
            "a quiet client stays"
        );
        tx.write_all(b"{\"half").await.unwrap();
        assert!(reader.next().await.is_err());
    }
}
