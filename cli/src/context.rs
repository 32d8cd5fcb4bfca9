//! What every command shares: options, output, folders, and the node that may have been started
//! inside this process.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use klatch_core::command::Passphrase;
use klatch_core::query::Host;
use klatch_node::Config;
use klatch_node::store::keystore::Keystore;
use tokio::sync::Mutex;
use tokio::task::block_in_place;

use crate::args::{Global, Network};
use crate::client::Embedded;
use crate::error::{Report, exit};
use crate::output::Output;
use crate::paths::Paths;

/// A passphrase file is short; whoever gives a film by mistake gets an error.
const PASSPHRASE_BYTES_MAX: u64 = 1_024;

/// Shared by all commands.
#[derive(Debug)]
pub struct Context {
    /// Options.
    pub args: Global,
    /// Where things are printed.
    pub out: Output,
    /// Where things are.
    pub paths: Paths,
    /// The node inside this process, if one was needed.
    pub embedded: Mutex<Option<Embedded>>,
    /// The full screen is about to open: what is said before it is left behind in the shell.
    pub hushed: AtomicBool,
}

/// What a command needs of a node that it may have to start.
#[derive(Debug, Clone)]
pub enum Need {
    /// Only what is on disk: no address beyond this machine is listened on.
    History,
    /// Other nodes too.
    Network(Network),
}

impl Context {
    /// From the options.
    pub fn new(args: Global) -> Result<Self, Report> {
        let out = Output::new(args.json, args.quiet, args.color);
        let paths = Paths::new(&args.profile)?;
        Ok(Self { args, out, paths, embedded: Mutex::new(None), hushed: AtomicBool::new(false) })
    }

    /// A remark on how a command begins; the full screen shows by itself what it says.
    pub fn note_at_start(&self, text: &str) {
        if !self.hushed.load(Ordering::Relaxed) {
            self.out.note(text);
        }
    }

    /// How long to wait, unless the user said.
    pub fn timeout(&self, default: Duration) -> Duration {
        self.args.timeout.unwrap_or(default)
    }

    /// The same in milliseconds, for the API.
    pub fn timeout_ms(&self, default: Duration) -> u64 {
        u64::try_from(self.timeout(default).as_millis()).unwrap_or(u64::MAX)
    }

    /// The configuration of a node of this profile.
    pub fn config(
        &self,
        need: &Need,
        host: Host,
        passphrase: Option<Passphrase>,
    ) -> Result<Config, Report> {
        let mut config = Config::new(
            self.paths.data.clone(),
            self.paths.runtime.clone(),
            self.paths.peers.clone(),
        );
        match need {
            Need::History => {
                config.to_read = true;
                config.loopback_only = true;
                config.mdns = false;
                config.quic = false;
            }
            Need::Network(network) => {
                self.tell_left_out(network);
                reach(&mut config, network)?;
            }
        }
        config.host = Some(host);
        config.passphrase = passphrase;
        Ok(config)
    }

    /// The keystore of this profile, which may not exist.
    pub fn keystore(&self) -> Keystore {
        Keystore::at(&self.paths.data)
    }

    /// Whether the keystore has a passphrase.
    pub fn protected(&self) -> Result<bool, Report> {
        self.keystore().needs_passphrase().map_err(Report::from)
    }

    /// Refuses to go on without an identity.
    pub fn need_identity(&self) -> Result<(), Report> {
        if self.keystore().exists() {
            return Ok(());
        }
        Err(Report::new(
            "KLATCH-NO-IDENTITY",
            format!("there is no identity in profile {} yet", self.args.profile),
            "`klatch init` makes one, and so does `klatch chat '#lobby'`",
            exit::USAGE,
        ))
    }

    /// The keystore's passphrase, if it has one: from the file, or from the user.
    pub fn unlock(&self) -> Result<Option<String>, Report> {
        if !self.protected()? {
            return Ok(None);
        }
        if let Some(file) = &self.args.unlock_file {
            return read_secret(file).map(Some);
        }
        if !self.can_ask() {
            return Err(Report::new(
                "KLATCH-LOCKED",
                format!("profile {} is protected by a passphrase", self.args.profile),
                "--unlock-file FILE, or KLATCH_PASSPHRASE_FILE, or a terminal to ask on",
                exit::LOCKED,
            ));
        }
        ask_secret("Passphrase: ").map(Some)
    }

    /// Whether there is somebody to ask.
    pub fn can_ask(&self) -> bool {
        !self.args.no_input
            && !self.args.json
            && std::io::stdin().is_terminal()
            && std::io::stderr().is_terminal()
    }

    /// Ends the node inside this process, if there is one, once nobody uses it any more.
    pub async fn finish(&self, flush: bool) {
        let Some(embedded) = self.embedded.lock().await.take() else { return };
        if flush {
            embedded.flush().await;
        }
        embedded.until_alone(&self.out).await;
        embedded.end().await;
    }

    /// Waits until somebody asks the node inside this command to stop (`klatch down`, `klatch
    /// lock`).
    pub async fn asked_to_stop(&self) {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            if self.embedded.lock().await.as_ref().is_some_and(Embedded::asked_to_stop) {
                return;
            }
        }
    }

    /// Ends it at once.
    pub async fn abandon(&self) {
        if let Some(embedded) = self.embedded.lock().await.take() {
            embedded.end().await;
        }
    }
}

/// Takes over where the node is reached.
fn reach(config: &mut Config, network: &Network) -> Result<(), Report> {
    config.listen = network.listen.iter().map(|a| multiaddr(a)).collect();
    config.peers = network.peer.iter().map(|a| multiaddr(a)).collect();
    config.mdns = !network.no_mdns && !network.loopback_only;
    config.quic = !network.no_quic;
    // With addresses of its own it is they that keep the node on this machine.
    config.loopback_only = network.loopback_only && config.listen.is_empty();
    let local = |a: &String| a.starts_with("/ip4/127.") || a.starts_with("/ip6/::1/");
    let away = |list: &[String]| list.iter().find(|a| a.starts_with("/ip") && !local(a)).cloned();
    let away = [("--listen", away(&config.listen)), ("--peer", away(&config.peers))];
    match away.into_iter().find_map(|(option, address)| Some((option, address?))) {
        Some((option, address)) if network.loopback_only => Err(Report::usage(
            format!("{address} is not on this machine"),
            format!("leave out {option}, or --loopback-only (KLATCH_LOOPBACK_ONLY)"),
        )),
        _ => Ok(()),
    }
}

/// `192.168.1.5:4001` as people write it, in the form that the network takes; anything else is left
/// to it.
fn multiaddr(text: &str) -> String {
    klatch_node::network::address::parse(text).map_or_else(|_| text.to_owned(), |a| a.to_string())
}

/// Asks a question on stderr; an empty answer is `None`.
pub fn ask(question: &str) -> Result<Option<String>, Report> {
    let failed = |e: std::io::Error| {
        Report::usage(format!("cannot ask: {e}"), "give --no-input and the options you want")
    };
    eprint!("{question}");
    std::io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    block_in_place(|| std::io::stdin().lock().read_line(&mut answer)).map_err(failed)?;
    Ok(Some(answer.trim().to_owned()).filter(|a| !a.is_empty()))
}

/// Asks yes or no; anything but a yes is a no.
pub fn confirm(question: &str) -> Result<bool, Report> {
    Ok(ask(question)?.is_some_and(|a| matches!(a.to_lowercase().as_str(), "y" | "yes")))
}

/// Asks for a secret, which is not shown.
pub fn ask_secret(question: &str) -> Result<String, Report> {
    let secret = block_in_place(|| rpassword::prompt_password(question)).map_err(|e| {
        Report::usage(format!("cannot ask for a passphrase: {e}"), "give it in a file")
    })?;
    check_secret(secret)
}

/// Reads a secret from a file, a descriptor (`/dev/fd/3`) or stdin (`-`); one line break at its end
/// does not count.
pub fn read_secret(file: &Path) -> Result<String, Report> {
    let mut text = String::new();
    let read = block_in_place(|| {
        if file.as_os_str() == "-" {
            std::io::stdin().lock().take(PASSPHRASE_BYTES_MAX + 1).read_to_string(&mut text)
        } else {
            std::fs::File::open(file)
                .and_then(|f| f.take(PASSPHRASE_BYTES_MAX + 1).read_to_string(&mut text))
        }
    });
    let bytes = read.map_err(|e| Report::io("read the passphrase from", file, &e))?;
    if bytes as u64 > PASSPHRASE_BYTES_MAX {
        let cause = format!("{} is too long for a passphrase", file.display());
        return Err(Report::usage(cause, format!("at most {PASSPHRASE_BYTES_MAX} bytes")));
    }
    let text = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    check_secret(text.to_owned())
}

fn check_secret(secret: String) -> Result<String, Report> {
    if secret.is_empty() {
        return Err(Report::usage("the passphrase is empty", "give at least one character"));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        assert_eq!(multiaddr("127.0.0.1:4001"), "/ip4/127.0.0.1/tcp/4001");
        assert_eq!(multiaddr("[::1]:4001"), "/ip6/::1/tcp/4001");
        assert_eq!(multiaddr("[fe80::1%eth0]:4001"), "/ip6/fe80::1/tcp/4001");
        assert_eq!(multiaddr("/ip4/1.2.3.4/udp/1/quic-v1"), "/ip4/1.2.3.4/udp/1/quic-v1");
    }

    #[test]
    fn staying_on_this_machine_is_a_promise() {
        let mut config = Config::new("/x", "/x", "/x");
        let mut network = Network { loopback_only: true, ..Network::usual() };
        assert!(reach(&mut config, &network).is_ok() && config.loopback_only && !config.mdns);
        network.listen = vec!["127.0.0.1:9".to_owned()];
        assert!(reach(&mut config, &network).is_ok() && !config.mdns && config.listen.len() == 1);
        network.listen = vec!["0.0.0.0:9".to_owned()];
        assert!(reach(&mut config, &network).is_err());
        network.listen = Vec::new();
        network.peer = vec!["127.0.0.1:9".to_owned(), "192.0.2.7:4001".to_owned()];
        let refused = reach(&mut config, &network).unwrap_err();
        assert!(refused.cause.contains("192.0.2.7") && refused.hint.contains("--peer"));
    }
}
