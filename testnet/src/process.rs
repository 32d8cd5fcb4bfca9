//! One real `klatch` process with its own profile: start, signals, memory and CPU from `/proc`.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::rpc::Client;

/// A node that has no socket after this long did not start.
const START_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at something that will happen soon.
pub const POLL: Duration = Duration::from_millis(10);
/// How long a node may take to stop in good order.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// The kernel allows 107 bytes for the path of a socket; `/n50/run/api.sock` takes the rest.
const HOME_BYTES_MAX: usize = 88;

/// What all nodes of one testnet share.
#[derive(Debug, Clone)]
pub struct Site {
    /// The program.
    pub klatch: PathBuf,
    /// `KLATCH_HOME`: all profiles, and with them the address files by which the nodes find one
    /// another.
    pub home: PathBuf,
}

impl Site {
    /// Finds the `klatch` binary beside this one, unless told.
    pub fn new(klatch: Option<PathBuf>, home: PathBuf) -> Result<Self> {
        let klatch = match klatch {
            Some(path) => path,
            None => std::env::current_exe()?.with_file_name("klatch"),
        };
        if !klatch.is_file() {
            bail!(
                "{} is not there: build it with `cargo build --release -p klatch`, or name it with --klatch",
                klatch.display()
            );
        }
        fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
        let home = home.canonicalize()?;
        if home.as_os_str().len() > HOME_BYTES_MAX {
            bail!("{} is too long a path for sockets in it: choose a shorter one", home.display());
        }
        Ok(Self { klatch: klatch.canonicalize()?, home })
    }

    /// A command line of this testnet's `klatch` for one profile.
    pub fn klatch(&self, profile: &str) -> Command {
        let mut command = Command::new(&self.klatch);
        command.env("KLATCH_HOME", &self.home).arg("--profile").arg(profile).stdin(Stdio::null());
        command
    }

    /// Runs a one-shot command to its end.
    pub fn run(&self, profile: &str, args: &[&str]) -> Result<String> {
        let out = self.klatch(profile).args(args).output().context("cannot run klatch")?;
        if !out.status.success() {
            bail!("klatch {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

/// Memory and CPU of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Resident memory now, kB.
    pub rss_kb: u64,
    /// The most it has been, kB.
    pub peak_kb: u64,
    /// User and system time, seconds.
    pub cpu_s: f64,
}

/// Reads `/proc/PID`; zeros when the process is gone.
pub fn usage(pid: u32) -> Usage {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the program's name in parentheses and may hold spaces; utime and stime
    // are 14 and 15.
    let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = after.split(' ').skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Usage { rss_kb: field("VmRSS:"), peak_kb: field("VmHWM:"), cpu_s: ticks as f64 / 100.0 }
}

/// Lets the peak of a process begin anew. Joining a room takes 64 MiB for a moment, to stretch its
/// key, which would hide what the load takes. Not everybody's kernel does it; then the peak is that
/// of the whole life.
pub fn forget_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// One node.
pub struct Node {
    /// Profile name: n1, n2, ...
    pub profile: String,
    site: Site,
    child: Option<Child>,
    /// The highest peak of all its lives, kB.
    peak_kb: u64,
    /// CPU seconds of its past lives.
    spent_s: f64,
}

impl Node {
    /// Makes the profile, if it is not there yet.
    pub fn init(site: &Site, number: usize) -> Result<Self> {
        let profile = format!("n{number}");
        let node = Self { profile, site: site.clone(), child: None, peak_kb: 0, spent_s: 0.0 };
        if !node.marker().exists() {
            site.run(&node.profile, &["init", "--name", &node.profile, "--no-passphrase"])?;
            fs::write(node.marker(), b"")?;
        }
        Ok(node)
    }

    fn marker(&self) -> PathBuf {
        self.site.home.join(format!("{}.made", self.profile))
    }

    /// Where its output goes.
    pub fn log(&self) -> PathBuf {
        self.site.home.join(format!("{}.log", self.profile))
    }

    /// Starts the process and waits until its socket answers.
    pub fn start(&mut self) -> Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.site.klatch(&self.profile);
        command.args(["node", "run", "--no-mdns"]);
        command.args([
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
            "--listen",
            "/ip4/127.0.0.1/udp/0/quic-v1",
        ]);
        // Its own process group: Ctrl+C at the terminal reaches the testnet, which then decides.
        let child = command
            .process_group(0)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start klatch")?;
        self.child = Some(child);
        let until = Instant::now() + START_WITHIN;
        loop {
            if self.client().and_then(|mut c| c.call("node.status", &serde_json::json!({}))).is_ok()
            {
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                self.child = None;
                bail!("{} ended at once ({status}); see {}", self.profile, self.log().display());
            }
            if Instant::now() > until {
                bail!("{} does not answer; see {}", self.profile, self.log().display());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether it was started and not stopped.
    pub fn running(&self) -> bool {
        self.child.is_some()
    }

    /// A connection to its API.
    pub fn client(&self) -> Result<Client> {
        Client::connect(&self.socket().context("there is no api.sock yet")?)
    }

    /// Its API socket.
    pub fn socket(&self) -> Option<PathBuf> {
        socket(&self.site.home, &self.profile)
    }

    /// Process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid =
            self.pid().and_then(|p| Pid::from_raw(p.cast_signed())).context("it does not run")?;
        kill_process(pid, signal).context("cannot send a signal")
    }

    /// kill -9: whatever is not on disk is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.take_usage();
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<()> {
        self.take_usage();
        if self.child.is_none() {
            return Ok(());
        }
        // A paused process would never see the other signal.
        self.signal(Signal::CONT)?;
        self.signal(Signal::TERM)?;
        let until = Instant::now() + STOP_WITHIN;
        while let Some(child) = self.child.as_mut() {
            if child.try_wait()?.is_some() {
                self.child = None;
            } else if Instant::now() > until {
                self.kill()?;
                bail!(
                    "{} did not stop within {} s and was killed",
                    self.profile,
                    STOP_WITHIN.as_secs()
                );
            } else {
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// Stops its clock: links stay open, nothing moves.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// The other way round.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn take_usage(&mut self) {
        if let Some(pid) = self.pid() {
            let now = usage(pid);
            self.peak_kb = self.peak_kb.max(now.peak_kb);
            self.spent_s += now.cpu_s;
        }
    }

    /// Lets its peak begin anew ([`forget_peak`]).
    pub fn forget_peak(&mut self) {
        self.peak_kb = 0;
        if let Some(pid) = self.pid() {
            forget_peak(pid);
        }
    }

    /// Peak memory and CPU over all its lives.
    pub fn usage(&self) -> Usage {
        let now = self.pid().map(usage).unwrap_or_default();
        Usage {
            rss_kb: now.rss_kb,
            peak_kb: self.peak_kb.max(now.peak_kb),
            cpu_s: self.spent_s + now.cpu_s,
        }
    }

    /// Lets the process live on when this value goes (`up`).
    pub fn detach(mut self) -> Option<u32> {
        self.child.take().map(|child| child.id())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing can be done about a failure here, and the process is ours alone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The API socket of a profile, once it is there.
pub fn socket(home: &Path, profile: &str) -> Option<PathBuf> {
    Some(home.join(profile).join("run").join("api.sock")).filter(|path| path.exists())
}
