//! Requests and responses as opaque bytes on a stream: a 4-byte big-endian length, then that many
//! bytes.
//!
//! The length comes first so that too much is refused before it is read, and so that a stream that
//! ends early is an error and not an empty answer.

use std::io;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response;

use super::settings::LaneBounds;

/// Allocated before the first byte of a body is there; the rest grows as it arrives.
const FIRST_BYTES: usize = 16 << 10;

/// The codec of both protocols; what is too long is what differs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw {
    pub(super) bounds: &'static LaneBounds,
}

impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    /// `None` announced more bytes than allowed. The library does not report a request that cannot
    /// be read, and who sends such is to be blamed.
    type Request = Option<Vec<u8>>;
    type Response = Vec<u8>;

    async fn read_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Option<Vec<u8>>>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read(io, self.bounds.request_bytes_max).await {
            Err(error) if is_oversize(&error) => Ok(None),
            read => read.map(Some),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, self.bounds.response_bytes_max).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Option<Vec<u8>>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &bytes.unwrap_or_default()).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &bytes).await
    }
}

/// The codec refused a length.
pub(super) fn is_oversize(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T, max: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length);
    if length as usize > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than allowed"));
    }
    let mut bytes = Vec::with_capacity(FIRST_BYTES.min(length as usize));
    io.take(u64::from(length)).read_to_end(&mut bytes).await?;
    if bytes.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let length =
        u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    fn framed(length: u32, body: &[u8]) -> Cursor<Vec<u8>> {
        Cursor::new([&length.to_be_bytes()[..], body].concat())
    }

    #[test]
    fn the_limit_is_accepted_and_one_more_is_refused_before_the_body() {
        let body = vec![7; 100];
        assert_eq!(block_on(read(&mut framed(100, &body), 100)).unwrap(), body);
        let error = block_on(read(&mut framed(101, &[]), 100)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = block_on(read(&mut framed(u32::MAX, &[]), 100)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_stream_that_ends_early_is_no_empty_answer() {
        for cut in [&b""[..], &[0, 0], &[0, 0, 0, 2, 1]] {
            let error = block_on(read(&mut Cursor::new(cut.to_vec()), 100)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        assert!(block_on(read(&mut framed(0, &[]), 100)).unwrap().is_empty());
    }
}
