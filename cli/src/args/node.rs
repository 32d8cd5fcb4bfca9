//! Options of the node and of the identity that it runs under.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

/// `klatch init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Keep the key readable to whoever can read this disk
    #[arg(long, conflicts_with = "passphrase_file")]
    pub no_passphrase: bool,
    /// File with the passphrase that protects key and history (`-`: stdin)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
}

/// `klatch passphrase`.
#[derive(Debug, Args)]
pub struct Passphrase {
    /// File with the new passphrase (`-`: stdin)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub new_file: Option<PathBuf>,
    /// Take it off: whoever can read this disk can read everything
    #[arg(long, conflicts_with = "new_file")]
    pub remove: bool,
}

/// Where the node is reached. There is no default: commands without these options take
/// [`Network::usual`], which keeps the promise of `KLATCH_LOOPBACK_ONLY`.
#[derive(Debug, Clone, Args)]
pub struct Network {
    /// Listen here (127.0.0.1:4001 or /ip4/0.0.0.0/tcp/4001); several times for several
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Connect to this node and stay connected (as `klatch status` there prints it)
    #[arg(long, value_name = "ADDR")]
    pub peer: Vec<String>,
    /// Do not look for nodes in the local network
    #[arg(long)]
    pub no_mdns: bool,
    /// TCP only
    #[arg(long)]
    pub no_quic: bool,
    /// Stay on this machine: listen on 127.0.0.1 and send no multicast
    #[arg(long, env = "KLATCH_LOOPBACK_ONLY", value_parser = clap::builder::FalseyValueParser::new())]
    pub loopback_only: bool,
}

impl Network {
    /// What the environment says, for commands without these options: staying on this machine is a
    /// promise.
    pub fn usual() -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            network: Network,
        }
        let here = || Self {
            listen: Vec::new(),
            peer: Vec::new(),
            no_mdns: true,
            no_quic: true,
            loopback_only: true,
        };
        // No option is wrong, so it does not fail; if it did, this machine would be the safe side.
        Alone::try_parse_from(["klatch"]).map_or_else(|_| here(), |a| a.network)
    }

    /// The options given, as they were typed; `--loopback-only` may come from the environment and
    /// is left out.
    pub fn given(&self) -> Vec<String> {
        let quoted = |name: &str, list: &[String]| {
            list.iter().map(|a| format!("{name} {a}")).collect::<Vec<_>>()
        };
        let mut given = [quoted("--listen", &self.listen), quoted("--peer", &self.peer)].concat();
        given.extend(self.no_mdns.then(|| "--no-mdns".to_owned()));
        given.extend(self.no_quic.then(|| "--no-quic".to_owned()));
        given
    }
}

/// `klatch peer`.
#[derive(Debug, Subcommand)]
pub enum Peer {
    /// Look for a node at this address from now on
    Add {
        /// 192.0.2.7:4001, or as `klatch status` there prints it
        #[arg(value_name = "ADDR")]
        address: String,
    },
    /// List who is connected, and how it goes with the addresses asked for
    List,
    /// Look there no longer, nor wherever else whoever is there was reached
    Forget {
        /// Address or peer id, as `klatch peer list` prints them
        #[arg(value_name = "ADDR")]
        address: String,
    },
}

/// `klatch node`.
#[derive(Debug, Subcommand)]
pub enum Node {
    /// Run until Ctrl+C, SIGTERM or `klatch down`
    Run(NodeRun),
    /// Print a systemd user unit that runs the node of this profile
    Unit(Network),
}

/// `klatch down` and `klatch lock`.
#[derive(Debug, Args)]
pub struct Down {
    /// If the node does not respond, end its process with SIGTERM without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// `klatch node run`.
#[derive(Debug, Args)]
pub struct NodeRun {
    /// Where it is reached.
    #[command(flatten)]
    pub network: Network,
    /// Serve the API over HTTP too, on this machine only; any free port without an address
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:0")]
    pub http: Option<String>,
    /// Started by `klatch up`: own session, log to a file, one line on stdout when ready
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// `klatch tui-bench`.
#[derive(Debug, Args)]
pub struct TuiBench {
    /// Messages in the room
    #[arg(long, default_value_t = 100_000)]
    pub messages: u64,
    /// Keys folded and drawn without a terminal
    #[arg(long, default_value_t = 2_000)]
    pub keys: usize,
    /// Keys pressed in a terminal, 150 ms apart, in each of two rooms
    #[arg(long, default_value_t = 200)]
    pub pty_keys: usize,
}

/// `klatch wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// node, peer, peer:NAME, room:#ROOM or delivered:MESSAGE
    #[arg(default_value = "node")]
    pub target: String,
}

/// `klatch doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Only what takes a moment: identity, permissions, disk, limits, and whether the node answers
    #[arg(long)]
    pub quick: bool,
    /// Also write an archive (.tar) for a bug report, with stand-ins for names, rooms, addresses
    /// and ids
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,
}
