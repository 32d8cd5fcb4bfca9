//! Nodes of one user on one machine find each other through files in a private folder, without any
//! network.
//!
//! Each node writes `PEERID.addr`: its process id and the addresses at which this machine reaches
//! it. A small thread reads the folder; the network task never touches the disk. (A thread and not
//! the runtime's blocking pool, because it lives as long as the node and so cannot be starved by,
//! or starve, other blocking work.) It wakes every two seconds for one directory listing; files are
//! read again only when they changed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Instant, SystemTime};

use libp2p::{Multiaddr, PeerId};
use rustix::process::{Pid, geteuid, test_kill_process};
use tokio::sync::{mpsc, oneshot};

use super::settings::{
    ADDRESS_FILE_BYTES_MAX, ADDRESS_FILES_MAX, ADDRESSES_PER_PEER_MAX, SCAN, SCAN_FAST,
    SCAN_FAST_FOR,
};
use super::{NetworkError, address};

/// Peers of this machine and their addresses.
pub(super) type Found = Vec<(PeerId, Vec<Multiaddr>)>;

/// Orders waiting for the thread: addresses change a few times at start and hardly ever after.
const ORDERS: usize = 16;
/// Scans waiting for the task; a missed one is followed by the next.
const SCANS: usize = 4;

/// The thread that watches the folder.
#[derive(Debug)]
pub(super) struct Watcher {
    orders: SyncSender<Order>,
    /// Peers found, whenever that changed.
    pub(super) found: mpsc::Receiver<Found>,
}

#[derive(Debug)]
enum Order {
    Write(Vec<Multiaddr>),
    Stop(oneshot::Sender<()>),
}

impl Watcher {
    /// Checks the folder and starts watching it.
    pub(super) fn start(dir: &Path, own: PeerId) -> Result<Self, NetworkError> {
        let files = AddressFiles::open(dir, own)?;
        let (orders, order_queue) = sync_channel(ORDERS);
        let (found_queue, found) = mpsc::channel(SCANS);
        thread::Builder::new()
            .name("klatch-discovery".to_owned())
            .spawn(move || watch(files, &order_queue, &found_queue))
            .map_err(|e| NetworkError::Setup {
                part: "the discovery thread",
                cause: e.to_string(),
            })?;
        Ok(Self { orders, found })
    }

    /// Announces these addresses.
    pub(super) fn announce(&self, addresses: &[Multiaddr]) {
        if self.orders.try_send(Order::Write(reachable(addresses))).is_err() {
            tracing::warn!("address file not written: the discovery thread is busy or gone");
        }
    }

    /// Removes the own file and ends the thread; the receiver tells when that is done.
    pub(super) fn stop(&self) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        // If the order cannot be queued, `done` is dropped and the wait ends at once.
        let _ = self.orders.try_send(Order::Stop(done));
        wait
    }
}

/// What others on this machine should dial: TCP on loopback (faster there than QUIC), else whatever
/// there is.
fn reachable(addresses: &[Multiaddr]) -> Vec<Multiaddr> {
    let tcp: Vec<&Multiaddr> =
        addresses.iter().filter(|a| address::tcp_port(a).is_some()).collect();
    let local: Vec<&Multiaddr> =
        tcp.iter().copied().filter(|a| address::ip(a).is_some_and(|ip| ip.is_loopback())).collect();
    let best = [local, tcp, addresses.iter().collect()]
        .into_iter()
        .find(|list| !list.is_empty())
        .unwrap_or_default();
    best.into_iter().take(ADDRESSES_PER_PEER_MAX).cloned().collect()
}

fn watch(mut files: AddressFiles, orders: &Receiver<Order>, found: &mpsc::Sender<Found>) {
    let start = Instant::now();
    let mut last = None;
    loop {
        files.keep();
        let now = files.scan();
        if last.as_ref() != Some(&now) && found.try_send(now.clone()).is_ok() {
            last = Some(now);
        }
        let pause = if start.elapsed() < SCAN_FAST_FOR { SCAN_FAST } else { SCAN };
        match orders.recv_timeout(pause) {
            Ok(Order::Write(addresses)) => files.own = addresses,
            Ok(Order::Stop(done)) => {
                files.remove();
                // Nobody waits any more if this fails.
                let _ = done.send(());
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return files.remove(),
        }
    }
}

/// The folder, the own file in it, and what was read of the others.
#[derive(Debug)]
struct AddressFiles {
    dir: PathBuf,
    peer: PeerId,
    /// To be announced.
    own: Vec<Multiaddr>,
    written: Vec<Multiaddr>,
    known: BTreeMap<PeerId, Seen>,
}

#[derive(Debug, Clone)]
struct Seen {
    modified: Option<SystemTime>,
    pid: Option<Pid>,
    addresses: Vec<Multiaddr>,
}

impl AddressFiles {
    /// Makes the folder if it is missing; refuses one that others can write to or read.
    fn open(dir: &Path, peer: PeerId) -> Result<Self, NetworkError> {
        let fail = |cause: String| NetworkError::RuntimeDir { path: dir.to_owned(), cause };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| fail(e.to_string()))?;
        let meta = fs::symlink_metadata(dir).map_err(|e| fail(e.to_string()))?;
        if !meta.is_dir() {
            return Err(fail("it is not a folder".to_owned()));
        }
        if meta.uid() != geteuid().as_raw() {
            return Err(fail("it belongs to another user; choose another folder".to_owned()));
        }
        if meta.mode() & 0o077 != 0 {
            return Err(fail(format!(
                "others have access to it; run `chmod 700 {}`",
                dir.display()
            )));
        }
        Ok(Self {
            dir: dir.to_owned(),
            peer,
            own: Vec::new(),
            written: Vec::new(),
            known: BTreeMap::new(),
        })
    }

    fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.addr", self.peer))
    }

    /// Writes the own file if its content changed or somebody removed it.
    fn keep(&mut self) {
        if self.own.is_empty() || (self.own == self.written && self.path().exists()) {
            return;
        }
        match self.write() {
            Ok(()) => self.written = self.own.clone(),
            Err(error) => {
                tracing::warn!(%error, "address file not written: other nodes here may not find this one")
            }
        }
    }

    /// Complete or not at all: readers may look at any moment. Not synced: after a crash of the
    /// machine it is stale.
    fn write(&self) -> io::Result<()> {
        let mut text = format!("pid {}\n", process::id());
        for address in &self.own {
            text.push_str(&format!("{address}\n"));
        }
        // Whoever cleans temporary files may have removed the folder too.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let part = self.dir.join(format!(".{}.{}", self.peer, process::id()));
        let _ = fs::remove_file(&part);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&part, self.path())
    }

    fn remove(&self) {
        if !self.written.is_empty() {
            let _ = fs::remove_file(self.path());
        }
    }

    /// The other nodes, sorted. Files of processes that are gone are removed.
    fn scan(&mut self) -> Found {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut seen = BTreeMap::new();
        for entry in entries.flatten().take(ADDRESS_FILES_MAX) {
            let name = entry.file_name();
            let Some(peer) =
                name.to_str().and_then(|n| n.strip_suffix(".addr")).and_then(|n| n.parse().ok())
            else {
                continue;
            };
            let Ok(meta) = entry.metadata() else { continue };
            if peer == self.peer || !meta.is_file() {
                continue;
            }
            let modified = meta.modified().ok();
            let file = match self.known.remove(&peer) {
                Some(known) if known.modified == modified && modified.is_some() => known,
                _ => read(&entry.path(), modified),
            };
            match file.pid {
                Some(pid) if is_alive(pid) => drop(seen.insert(peer, file)),
                _ => drop(fs::remove_file(entry.path())),
            }
        }
        self.known = seen;
        self.known.iter().map(|(peer, file)| (*peer, file.addresses.clone())).collect()
    }
}

/// Reads one file. Whatever is wrong in it is left out.
fn read(path: &Path, modified: Option<SystemTime>) -> Seen {
    let mut text = String::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(ADDRESS_FILE_BYTES_MAX).read_to_string(&mut text);
    }
    let mut lines = text.lines();
    let number = lines.next().and_then(|l| l.strip_prefix("pid ")).and_then(|n| n.parse().ok());
    // A negative number would make `Pid` panic, and names a group of processes besides.
    let pid = number.filter(|n: &i32| *n > 0).and_then(Pid::from_raw);
    let addresses =
        lines.filter_map(|l| address::parse(l).ok()).take(ADDRESSES_PER_PEER_MAX).collect();
    Seen { modified, pid, addresses }
}

/// A process of another user is alive too: only "no such process" counts as gone.
fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_private_complete_and_gone_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("run");
        let (alice, bob) = (PeerId::random(), PeerId::random());
        let mut a = AddressFiles::open(&dir, alice).unwrap();
        let mut b = AddressFiles::open(&dir, bob).unwrap();
        a.own = vec![address::loopback_tcp(4_100)];
        a.keep();
        assert_eq!(fs::metadata(a.path()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(b.scan(), vec![(alice, a.own.clone())]);
        assert!(a.scan().is_empty(), "not the own file");
        fs::remove_file(a.path()).unwrap();
        a.keep();
        assert_eq!(b.scan().len(), 1, "a removed file comes back");
        fs::remove_dir_all(&dir).unwrap();
        a.keep();
        assert_eq!(b.scan().len(), 1, "and so does a removed folder");
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        a.remove();
        assert!(b.scan().is_empty());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }

    #[test]
    fn stale_and_strange_files_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut files = AddressFiles::open(dir.path(), PeerId::random()).unwrap();
        let name = |peer: PeerId| dir.path().join(format!("{peer}.addr"));
        // Larger than any pid the kernel gives out.
        fs::write(name(PeerId::random()), "pid 2000000000\n/ip4/127.0.0.1/tcp/1\n").unwrap();
        fs::write(name(PeerId::random()), "pid -5\n").unwrap();
        fs::write(name(PeerId::random()), [0xff; 9_000]).unwrap();
        fs::write(dir.path().join("hello.addr"), "pid 1\n").unwrap();
        let live = PeerId::random();
        fs::write(
            name(live),
            format!("pid {}\n/ip4/127.0.0.1/tcp/1\nrubbish\n/dns4/x/tcp/1\n", process::id()),
        )
        .unwrap();
        assert_eq!(files.scan(), vec![(live, vec![address::loopback_tcp(1)])]);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "stale ones are removed, foreign names are not touched"
        );
    }

    #[test]
    fn a_folder_open_to_others_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = AddressFiles::open(dir.path(), PeerId::random()).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(AddressFiles::open(&file, PeerId::random()).is_err());
    }

    #[test]
    fn loopback_tcp_is_announced_before_anything_else() {
        let lan: Multiaddr = "/ip4/192.0.2.1/tcp/7".parse().unwrap();
        let quic: Multiaddr = "/ip4/127.0.0.1/udp/7/quic-v1".parse().unwrap();
        let local = address::loopback_tcp(7);
        assert_eq!(reachable(&[lan.clone(), quic.clone(), local.clone()]), vec![local]);
        assert_eq!(reachable(&[quic.clone(), lan.clone()]), vec![lan]);
        assert_eq!(reachable(std::slice::from_ref(&quic)), vec![quic]);
    }
}
