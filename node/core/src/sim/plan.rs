//! What a seed means: the size of a world, how people behave in it, and what goes wrong.

use crate::sim::rng::Seeded;

/// Milliseconds of a minute.
pub const MINUTE: u64 = 60_000;

/// How nodes are connected when nothing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Everybody with everybody.
    Mesh,
    /// A ring.
    Ring,
    /// One after the other.
    Line,
    /// All with the first.
    Star,
    /// A ring with some chords.
    Chords,
}

/// A world to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// Members (3 to 12).
    pub nodes: usize,
    /// Rooms (1 or 2); everybody is in the first, most are in the second.
    pub rooms: usize,
    /// Who is linked with whom.
    pub shape: Shape,
    /// The shape after everything has healed.
    pub healed_shape: Shape,
    /// How long faults and chatter go on, milliseconds.
    pub active_ms: u64,
    /// Commands given (at most 200).
    pub commands: u64,
    /// Gossip messages lost, per mille and per hop.
    pub loss: u64,
    /// Requests or answers lost, per mille.
    pub request_loss: u64,
    /// Gossip messages that arrive twice, per mille.
    pub duplicates: u64,
    /// Longest delay of a packet, milliseconds.
    pub delay_ms: u64,
    /// Crashes during a batch, per mille.
    pub crash: u64,
    /// Longest time a crashed node stays down, milliseconds.
    pub down_ms: u64,
    /// Commits that fail because the disk is full, per mille; it stays full for a while.
    pub full: u64,
    /// Nodes that are switched off on purpose.
    pub outages: u64,
    /// Partitions of the whole network.
    pub partitions: u64,
    /// Single links that end and come back.
    pub flaps: u64,
    /// Ends that notice late that a connection died, per mille: each end by itself.
    pub half_open: u64,
    /// Two connections at once where one would do, per mille.
    pub doubles: u64,
    /// Processes that are killed and come back at once.
    pub kills: u64,
    /// Processes that are stopped, and go on.
    pub stops: u64,
    /// Largest constant error of a clock, milliseconds.
    pub skew_ms: u64,
    /// Clocks that jump.
    pub jumps: u64,
    /// Inputs in one batch, at most.
    pub batch: usize,
    /// Bytes of a page as the serving store gives it, at most.
    pub page_bytes: usize,
    /// Entries of a page, at most.
    pub page_entries: usize,
    /// A restarted node has a new transport peer id.
    pub fresh_peers: bool,
    /// Bodies that rot on a disk while somebody else has them.
    pub rots: u64,
    /// Strangers without any key that follow the topics, stay linked and never answer: also after
    /// everything has healed.
    pub strangers: usize,
    /// A member that breaks rules.
    pub attacker: bool,
    /// The attacker writes two entries in one place.
    pub forks: bool,
    /// Nothing goes wrong: latencies are checked.
    pub calm: bool,
    /// The stand-in suite for signatures and sealing.
    pub fast: bool,
}

impl Plan {
    /// A world without any fault, for stories.
    #[must_use]
    pub fn calm(seed: u64, nodes: usize, rooms: usize) -> Self {
        Self {
            seed,
            nodes,
            rooms,
            shape: Shape::Mesh,
            healed_shape: Shape::Mesh,
            active_ms: 5 * MINUTE,
            commands: 0,
            loss: 0,
            request_loss: 0,
            duplicates: 0,
            delay_ms: 20,
            crash: 0,
            down_ms: 0,
            full: 0,
            outages: 0,
            partitions: 0,
            flaps: 0,
            half_open: 0,
            doubles: 0,
            kills: 0,
            stops: 0,
            skew_ms: 0,
            jumps: 0,
            batch: 8,
            page_bytes: usize::MAX,
            page_entries: crate::limits::PAGE_ENTRIES_MAX,
            fresh_peers: false,
            rots: 0,
            strangers: 0,
            attacker: false,
            forks: false,
            calm: true,
            fast: true,
        }
    }

    /// The world of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let rng = &mut Seeded::new(seed, 0);
        let nodes = rng.pick(&[3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 10, 12]);
        let shapes =
            [Shape::Mesh, Shape::Mesh, Shape::Ring, Shape::Line, Shape::Star, Shape::Chords];
        let minutes = rng.pick(&[1, 2, 3, 3, 5, 5, 8, 12, 20, 40]);
        let fast = seed % 50 != 7;
        let mut plan = Self {
            rooms: if rng.chance(300) { 2 } else { 1 },
            shape: rng.pick(&shapes),
            healed_shape: rng.pick(&shapes),
            // A world of many nodes is a short one: what is idle for long says little.
            active_ms: if nodes > 6 { minutes.min(8) * MINUTE } else { minutes * MINUTE },
            commands: rng.pick(&[10, 20, 40, 40, 60, 100, 200]),
            ..Self::calm(seed, nodes, 1)
        };
        plan.fast = fast;
        if !fast {
            plan.commands = plan.commands.min(60);
        }
        plan.delay_ms = rng.pick(&[5, 50, 200, 2_000]);
        plan.batch = rng.pick(&[1, 3, 8]);
        plan.page_bytes = rng.pick(&[1_500, 8_000, usize::MAX]);
        plan.page_entries = rng.pick(&[3, 20, crate::limits::PAGE_ENTRIES_MAX]);
        plan.fresh_peers = rng.chance(300);
        plan.calm = rng.chance(120);
        if plan.calm {
            plan.delay_ms = plan.delay_ms.min(200);
            return plan;
        }
        plan.faults(rng);
        // From a stream of its own: what a seed meant before stays as it was.
        plan.rots = Seeded::new(seed, 6).pick(&[0, 0, 2, 10]);
        plan.strangers = Seeded::new(seed, 8).pick(&[0, 0, 0, 2, 9]);
        plan
    }

    fn faults(&mut self, rng: &mut Seeded) {
        self.loss = rng.pick(&[0, 20, 100, 300]);
        self.request_loss = rng.pick(&[0, 0, 20, 150]);
        self.duplicates = rng.pick(&[0, 50, 300]);
        self.crash = rng.pick(&[0, 0, 2, 15]);
        self.down_ms = rng.pick(&[1_000, 20_000, 200_000]);
        self.outages = rng.pick(&[0, 0, 1, 3]);
        self.partitions = rng.pick(&[0, 1, 1, 3]);
        self.flaps = rng.pick(&[0, 0, 4, 15]);
        self.skew_ms = rng.pick(&[0, 0, 3_000, 90_000, 86_400_000]);
        self.jumps = rng.pick(&[0, 0, 0, 2]);
        self.full = rng.pick(&[0, 0, 0, 0, 5, 30]);
        self.attacker = rng.chance(250);
        self.forks = self.attacker && rng.chance(300);
        if self.forks {
            // Each page that waits for a branch that nobody gives takes its time: not with three
            // entries a page.
            self.page_bytes = self.page_bytes.max(60_000);
            self.page_entries = self.page_entries.max(100);
        }
        self.half_open = rng.pick(&[0, 0, 300, 900]);
        self.doubles = rng.pick(&[0, 100, 500]);
        self.kills = rng.pick(&[0, 0, 2, 6]);
        self.stops = rng.pick(&[0, 0, 1, 3]);
    }
}
