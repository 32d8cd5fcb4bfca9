//! A node as a service: what is told to the service manager (systemd's protocol: datagrams to the
//! socket that `NOTIFY_SOCKET` names), and the unit that starts it. No library of the manager's is
//! needed for this.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use crate::args::Network;

/// Shorter periods than this would make the watchdog itself the load.
const WATCHDOG_MIN: Duration = Duration::from_millis(20);

/// The service manager that started this process, if one did and listens.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How often it wants to hear that the node lives.
    watchdog: Option<Duration>,
}

impl Manager {
    /// From the environment. Nothing if there is none, or its address makes no sense.
    pub fn here() -> Option<Self> {
        let named = std::env::var_os("NOTIFY_SOCKET")?;
        let number = |key: &str| std::env::var(key).ok()?.parse::<u64>().ok();
        // The variables are inherited; the pid says whose they are.
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let period = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        Self::at(&named, period.map(Duration::from_micros))
    }

    fn at(named: &OsStr, period: Option<Duration>) -> Option<Self> {
        let address = address(named)?;
        let socket = UnixDatagram::unbound().ok()?;
        // Nobody waits for a manager that does not read.
        socket.set_nonblocking(true).ok()?;
        // Twice in each period, as its documentation asks for.
        let watchdog = period.map(|period| (period / 2).max(WATCHDOG_MIN));
        Some(Self { socket, address, watchdog })
    }

    /// The node answers on its socket.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// It has begun to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// It lives: each of its parts has answered just now.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// How often to say that it lives, if that is asked for.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// A manager that is gone is no reason to end, so nothing comes back.
    fn tell(&self, text: &str) {
        if let Err(error) = self.socket.send_to_addr(text.as_bytes(), &self.address) {
            tracing::debug!(%error, "the service manager does not hear");
        }
    }
}

/// A path, or a name without a file where it begins with `@`.
fn address(named: &OsStr) -> Option<SocketAddr> {
    match named.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name).ok()
        }
        [b'/', ..] => SocketAddr::from_pathname(named).ok(),
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A unit that runs the node of a profile for its user: print it into
/// `~/.config/systemd/user/klatch.service`.
pub fn unit(
    program: &Path,
    profile: &str,
    environment: &[(&str, OsString)],
    network: &Network,
) -> String {
    let mut run = vec![quoted(program.as_os_str())];
    if profile != "default" {
        run.extend(["--profile".to_owned(), profile.to_owned()]);
    }
    run.extend(["--no-input", "node", "run"].map(str::to_owned));
    for (flag, list) in [("--listen", &network.listen), ("--peer", &network.peer)] {
        for address in list {
            run.extend([flag.to_owned(), quoted(OsStr::new(address))]);
        }
    }
    for (flag, on) in [
        ("--no-mdns", network.no_mdns),
        ("--no-quic", network.no_quic),
        ("--loopback-only", network.loopback_only),
    ] {
        run.extend(on.then(|| flag.to_owned()));
    }
    let environment: String = environment
        .iter()
        .map(|(key, value)| {
            let mut pair = OsString::from(format!("{key}="));
            pair.push(value);
            // No variables are put in here, unlike in a command line.
            format!("Environment={}\n", quoted(&pair).replace("$$", "$"))
        })
        .collect();
    format!(
        "[Unit]\n\
         Description=klatch: group chat without a server (profile {profile})\n\
         Documentation=man:klatch(1)\n\
         \n\
         [Service]\n\
         Type=notify\n\
         ExecStart={}\n\
         {environment}\
         # Ends it cleanly: goodbyes are said and files are closed.\n\
         KillSignal=SIGTERM\n\
         TimeoutStopSec=20\n\
         Restart=on-failure\n\
         RestartSec=5\n\
         # 2: wrong usage, or no such person here; 4: locked. Starting again would not help.\n\
         RestartPreventExitStatus=2 4\n\
         # Restarts a node whose network or store has stopped to answer.\n\
         WatchdogSec=60\n\
         NoNewPrivileges=yes\n\
         LockPersonality=yes\n\
         RestrictRealtime=yes\n\
         UMask=0077\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n",
        run.join(" ")
    )
}

/// One word of a unit file: quoted where it must be; `%` and `$` stand for themselves.
fn quoted(word: &OsStr) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/.-_:@=,+".contains(b);
    if !word.is_empty() && word.as_bytes().iter().all(plain) {
        return word.to_string_lossy().into_owned();
    }
    let mut text = String::from("\"");
    for byte in word.as_bytes() {
        match byte {
            b'%' => text.push_str("%%"),
            b'$' => text.push_str("$$"),
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Whatever is no plain character, in the form that the manager reads back as it is.
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_unit_come_back_as_they_were() {
        assert_eq!(quoted(OsStr::new("/usr/bin/klatch")), "/usr/bin/klatch");
        assert_eq!(quoted(OsStr::new("/my home/50%/$x")), "\"/my home/50%%/$$x\"");
        assert_eq!(quoted(OsStr::new("a\"b\\c\nd")), "\"a\\\"b\\\\c\\x0ad\"");
        assert_eq!(quoted(OsStr::from_bytes(b"/caf\xe9")), "\"/caf\\xe9\"");
        assert_eq!(quoted(OsStr::new("")), "\"\"");
    }

    #[test]
    fn addresses_are_paths_and_names_without_a_file() {
        assert!(address(OsStr::new("/run/x")).is_some());
        assert_eq!(address(OsStr::new("@x")).is_some(), cfg!(target_os = "linux"));
        for bad in ["", "x", "vsock:2:1"] {
            assert!(address(OsStr::new(bad)).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_status_cannot_say_more_than_a_status() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let told = Manager::at(path.as_os_str(), None).unwrap();
        told.ready("alice\nWATCHDOG=trigger");
        let mut bytes = [0; 200];
        let read = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..read], b"READY=1\nSTATUS=alice WATCHDOG=trigger");
        drop(manager);
        // Gone, or full: nothing happens.
        (0..2_000).for_each(|_| told.alive());
    }
}
