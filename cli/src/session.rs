//! How a command comes to a node: the one that runs, or one started inside this process. One
//! process holds a profile, so whoever meets a command that only reads history waits a moment until
//! it has ended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use klatch_core::command::Passphrase;
use klatch_core::query::Host;
use klatch_node::api::private_folder;
use klatch_node::network::settings::CONFIGURED_MAX;
use klatch_node::store::lock::{LockError, ProfileLock};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::args::Network;
use crate::client::{Client, Embedded, POLL, Session};
use crate::context::{Context, Need};
use crate::error::Report;
use crate::output::visible;
use crate::paths::Paths;
use crate::reach::{self, PATIENCE, Reach, Reached};

/// Instead of what is usual when a node is started for one command.
const UNWRITABLE: &str = "this profile cannot be written (read-only, or no space): its history is \
                          shown, nothing new can come or go";

/// A passphrase is asked for so often, as by other programs: each try costs a stretching.
const TRIES_MAX: u32 = 3;

/// Who has the profile.
pub enum Holder {
    /// This process, from now on; with a connection, if nobody else can attach.
    Us(Embedded, Option<Client>),
    /// A node that answers.
    Them(Reached),
}

impl Context {
    /// Attaches to the running node.
    pub async fn attach(&self) -> Result<Session, Report> {
        self.attach_within(PATIENCE).await
    }

    /// As [`Context::attach`]; waits so long for a node that is not reached yet.
    pub async fn attach_within(&self, patience: Duration) -> Result<Session, Report> {
        match reach::wait(&self.paths, patience).await? {
            Reach::Node(reached) => Ok(self.over(reached)),
            Reach::Nobody => Err(Report::no_node()),
            Reach::Silent(silent) => Err(silent.report()),
        }
    }

    /// Attaches to the running node, or starts one inside this process and says so.
    pub async fn session(&self, need: Need) -> Result<Session, Report> {
        match self.hold(&need, Host::Command).await? {
            Holder::Them(reached) => Ok(self.over(reached)),
            Holder::Us(embedded, client) => {
                *self.embedded.lock().await = Some(embedded);
                let mut session = match client {
                    Some(client) => self.over(Reached { client, socket: self.paths.socket() }),
                    None => self.attach().await?,
                };
                self.note_at_start(match session.status().await?.read_only {
                    true => UNWRITABLE,
                    false => "no node was running: one runs inside this command until it ends",
                });
                Ok(session)
            }
        }
    }

    fn over(&self, reached: Reached) -> Session {
        let Reached { client, socket } = reached;
        Session { client, socket, profile: self.args.profile.clone() }
    }

    /// Takes the profile, unless a node that answers has it. Asks for the passphrase once, and again
    /// after a slip: whoever had to begin anew would type it into the shell, to be seen and kept.
    pub async fn hold(&self, need: &Need, host: Host) -> Result<Holder, Report> {
        let mut passphrase: Option<Option<Passphrase>> = None;
        let mut tries = 1;
        let begun = Instant::now();
        loop {
            match reach::look(&self.paths).await? {
                Reach::Node(reached) => return Ok(Holder::Them(reached)),
                Reach::Silent(silent) if begun.elapsed() >= PATIENCE => {
                    return Err(silent.report());
                }
                Reach::Silent(_) => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                Reach::Nobody => {}
            }
            self.need_identity()?;
            // What only reads needs no folder but the profile's: it may be on a read-only disk.
            match need {
                Need::Network(_) => self.paths.create()?,
                Need::History => drop(private_folder(&self.paths.data)),
            }
            let secret = match &passphrase {
                Some(known) => known.clone(),
                None => passphrase.insert(self.unlock()?.map(Passphrase)).clone(),
            };
            match self.start(need, self.config(need, host, secret)?).await {
                Err(report)
                    if report.code == "KLATCH-WRONG-PASSPHRASE"
                        && self.args.unlock_file.is_none()
                        && tries < TRIES_MAX =>
                {
                    tries += 1;
                    passphrase = None;
                    self.out.warning("that is not the passphrase: once more");
                }
                // Somebody else was faster.
                Err(report) if is_busy(&report) && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(POLL).await
                }
                done => return done,
            }
        }
    }

    async fn start(&self, need: &Need, config: klatch_node::Config) -> Result<Holder, Report> {
        match need {
            Need::History => Embedded::start_alone(config)
                .await
                .map(|(node, client)| Holder::Us(node, Some(client))),
            Need::Network(_) => Embedded::start(config).await.map(|node| Holder::Us(node, None)),
        }
    }

    /// Says which options come too late for a node that runs already.
    pub async fn tell_ignored(
        &self,
        session: &mut Session,
        network: &Network,
    ) -> Result<(), Report> {
        self.tell_left_out(network);
        let mut given = network.given();
        if network.loopback_only {
            let status = session.status().await?;
            let beyond = |a: &String| !a.starts_with("/ip4/127.") && !a.starts_with("/ip6/::1/");
            given.extend(status.listening.iter().any(beyond).then(|| "--loopback-only".to_owned()));
        }
        if !given.is_empty() {
            let options = given.join(" ");
            self.out.note(&format!(
                "{options} had no effect: the node was running already. To apply: klatch down && klatch up {options}"
            ));
        }
        Ok(())
    }
}

impl Context {
    /// Says which addresses are not looked for, because there are more than a node takes.
    pub fn tell_left_out(&self, network: &Network) {
        if let Some(text) = left_out(&network.peer) {
            self.note_at_start(&text);
        }
    }
}

fn left_out(given: &[String]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let new: Vec<&String> = given.iter().filter(|address| seen.insert(*address)).collect();
    let (first, more) = new.get(CONFIGURED_MAX..)?.split_first()?;
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    Some(format!(
        "{CONFIGURED_MAX} addresses are looked for at most: left out are {}{more}",
        visible(first)
    ))
}

/// Takes the lock of a profile for a moment's work on its files, once a command that only reads has
/// ended.
pub fn lock(paths: &Paths) -> Result<ProfileLock, Report> {
    let begun = Instant::now();
    loop {
        match ProfileLock::acquire(&paths.data) {
            Err(LockError::Held { .. }) if begun.elapsed() < PATIENCE && !answers(paths) => {
                block_in_place(|| std::thread::sleep(POLL));
            }
            done => return done.map_err(Report::from),
        }
    }
}

fn answers(paths: &Paths) -> bool {
    let look = block_in_place(|| Handle::current().block_on(reach::look(paths)));
    matches!(look, Ok(Reach::Node(_)))
}

fn is_busy(report: &Report) -> bool {
    report.code == "KLATCH-ALREADY-RUNNING"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_does_not_take_of_the_addresses_given_is_named() {
        let given = |n: usize| (0..n).map(|n| format!("192.0.2.1:{n}")).collect::<Vec<_>>();
        assert_eq!(left_out(&given(CONFIGURED_MAX)), None);
        let twice = [given(CONFIGURED_MAX), given(CONFIGURED_MAX)].concat();
        assert_eq!(left_out(&twice), None);
        let one = left_out(&given(CONFIGURED_MAX + 1)).unwrap();
        assert!(one.ends_with("left out are 192.0.2.1:1024"), "{one}");
        let all = left_out(&given(CONFIGURED_MAX + 176)).unwrap();
        assert!(all.ends_with("192.0.2.1:1024 and 175 more"), "{all}");
    }
}
