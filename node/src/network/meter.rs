//! Counts the bytes of every stream, per peer, below the protocols.
//!
//! gossipsub does not tell how much of what it was given has left. The meter does: what was handed
//! over minus what was written since is what still waits ([`super::link`]). Bytes read tell that a
//! peer lives, whatever protocol it speaks.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite, IoSlice, IoSliceMut};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use tokio::time::{self, Sleep};

use super::counters::{Counters, add};
use super::settings::CLOSING;

/// Dead entries are swept when the table has grown by this many.
const SWEEP: usize = 256;

/// Bytes exchanged with one peer, over all its connections.
#[derive(Debug)]
pub(super) struct Meter {
    written: AtomicU64,
    read: AtomicU64,
    totals: Arc<Counters>,
}

impl Meter {
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(super) fn wrote(&self, n: usize) -> usize {
        self.written.fetch_add(n as u64, Ordering::Relaxed);
        add(&self.totals.bytes_out, n);
        n
    }

    fn got(&self, n: usize) -> usize {
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        add(&self.totals.bytes_in, n);
        n
    }
}

/// Finds the meter of a peer. Shared by the transport, which counts, and the task, which reads.
#[derive(Debug, Clone)]
pub(super) struct Meters {
    table: Arc<Mutex<BTreeMap<PeerId, Weak<Meter>>>>,
    totals: Arc<Counters>,
}

impl Meters {
    pub(super) fn new(totals: Arc<Counters>) -> Self {
        Self { table: Arc::default(), totals }
    }

    /// The meter of a peer; lives as long as somebody holds it.
    pub(super) fn of(&self, peer: PeerId) -> Arc<Meter> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = table.get(&peer).and_then(Weak::upgrade) {
            return meter;
        }
        if table.len() >= SWEEP {
            table.retain(|_, meter| meter.strong_count() > 0);
        }
        let meter = Arc::new(Meter {
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            totals: self.totals.clone(),
        });
        table.insert(peer, Arc::downgrade(&meter));
        meter
    }
}

/// A muxer whose streams are counted.
pub(super) struct Metered<M> {
    inner: M,
    meter: Arc<Meter>,
    closing: Option<Pin<Box<Sleep>>>,
}

impl<M> Metered<M> {
    pub(super) fn new(inner: M, meter: Arc<Meter>) -> Self {
        Self { inner, meter, closing: None }
    }
}

impl<M> StreamMuxer for Metered<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
{
    type Substream = MeteredStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let inner = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(MeteredStream { inner, meter: self.meter.clone() }))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let inner = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(MeteredStream { inner, meter: self.meter.clone() }))
    }

    /// A dead connection with much to write would never get to say goodbye.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(done) = Pin::new(&mut self.inner).poll_close(cx) {
            return Poll::Ready(done);
        }
        let patience = self.closing.get_or_insert_with(|| Box::pin(time::sleep(CLOSING)));
        patience.as_mut().poll(cx).map(Ok)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A stream that is counted.
pub(super) struct MeteredStream<S> {
    inner: S,
    meter: Arc<Meter>,
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        Poll::Ready(Ok(self.meter.got(n)))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.inner).poll_read_vectored(cx, bufs))?;
        Poll::Ready(Ok(self.meter.got(n)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        Poll::Ready(Ok(self.meter.wrote(n)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        Poll::Ready(Ok(self.meter.wrote(n)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
