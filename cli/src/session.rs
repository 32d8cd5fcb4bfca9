//! How a command comes to a node: the one that runs, or one started inside this process. One
//! process holds a profile, so whoever meets a command that only reads history waits a moment until
//! it has ended.

use std::path::Path;
use std::time::{Duration, Instant};

use klatch_core::command::Passphrase;
use klatch_core::query::Host;
use klatch_node::store::lock::{LockError, ProfileLock};
use tokio::task::block_in_place;

use crate::args::Network;
use crate::client::{self, Client, Embedded, POLL, Session};
use crate::context::{Context, Need};
use crate::error::{Report, exit};
use crate::paths::Paths;

/// A node that just took the lock offers its socket within this time, and a command that reads
/// history has ended.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Who has the profile.
pub enum Holder {
    /// This process, from now on; with a connection, if nobody else can attach.
    Us(Embedded, Option<Client>),
    /// A node that answers.
    Them(Client),
}

impl Context {
    /// Attaches to the running node.
    pub async fn attach(&self) -> Result<Session, Report> {
        let client = client::running(&self.paths.socket()).await.ok_or_else(Report::no_node)?;
        Ok(self.over(client))
    }

    /// Attaches to the running node, or starts one inside this process and says so.
    pub async fn session(&self, need: Need) -> Result<Session, Report> {
        match self.hold(&need, Host::Command).await? {
            Holder::Them(client) => Ok(self.over(client)),
            Holder::Us(embedded, client) => {
                *self.embedded.lock().await = Some(embedded);
                self.note_at_start(
                    "no node was running: one runs inside this command until it ends",
                );
                match client {
                    Some(client) => Ok(self.over(client)),
                    None => self.attach().await,
                }
            }
        }
    }

    fn over(&self, client: Client) -> Session {
        Session { client, socket: self.paths.socket(), profile: self.args.profile.clone() }
    }

    /// Takes the profile, unless a node that answers has it. Asks for the passphrase at most once.
    pub async fn hold(&self, need: &Need, host: Host) -> Result<Holder, Report> {
        let mut passphrase: Option<Option<Passphrase>> = None;
        let begun = Instant::now();
        loop {
            if let Some(client) = client::running(&self.paths.socket()).await {
                return Ok(Holder::Them(client));
            }
            if let Some(pid) = ProfileLock::holder(&self.paths.data) {
                if begun.elapsed() >= BUSY_MAX {
                    return Err(busy(Some(pid)));
                }
                tokio::time::sleep(POLL).await;
                continue;
            }
            self.paths.create()?;
            self.need_identity()?;
            let secret = match &passphrase {
                Some(known) => known.clone(),
                None => passphrase.insert(self.unlock()?.map(Passphrase)).clone(),
            };
            match self.start(need, self.config(need, host, secret)?).await {
                // Somebody else was faster.
                Err(report) if is_busy(&report) && begun.elapsed() < BUSY_MAX => {
                    tokio::time::sleep(POLL).await
                }
                Err(report) if is_busy(&report) => return Err(busy(None)),
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

/// Takes the lock of a profile for a moment's work on its files, once a command that only reads has
/// ended.
pub fn lock(paths: &Paths) -> Result<ProfileLock, Report> {
    let begun = Instant::now();
    loop {
        match ProfileLock::acquire(&paths.data) {
            Err(LockError::Held { .. })
                if begun.elapsed() < BUSY_MAX && !answers(&paths.socket()) =>
            {
                block_in_place(|| std::thread::sleep(POLL));
            }
            done => return done.map_err(Report::from),
        }
    }
}

fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

fn is_busy(report: &Report) -> bool {
    report.code == "KLATCH-ALREADY-RUNNING"
}

/// Somebody has the profile for longer than a moment and answers nobody.
fn busy(pid: Option<u32>) -> Report {
    let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    let end = pid.map_or_else(String::new, |pid| format!("; if it hangs: kill {pid}"));
    let mut report = Report::new(
        "KLATCH-BUSY",
        format!("this profile is in use by {who}, which answers nobody"),
        format!("try again in a moment; it may be starting, or reading history for a command{end}"),
        exit::NO_NODE,
    );
    report.retryable = true;
    report
}
