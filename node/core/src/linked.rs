//! What is known of a linked peer, whatever the room: which topics it follows, and which run of its
//! program is there.

use std::collections::BTreeSet;

use crate::ids::TopicId;
use crate::limits::PEER_TOPICS_MAX;
use crate::presence::Process;

/// What is known of a linked peer, whatever the room.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    /// What it follows, as far as anybody said.
    pub topics: BTreeSet<TopicId>,
    /// Its run, and the number of the connection over which it said so last.
    pub process: Option<(Process, u64)>,
}

/// What a process says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Same,
    Another,
    /// Said over a former connection, and no longer true.
    Former,
}

impl Linked {
    /// It follows a topic.
    pub fn follow(&mut self, topic: TopicId) {
        if self.topics.len() < PEER_TOPICS_MAX {
            self.topics.insert(topic);
        }
    }

    /// It said over a connection which run of its program is there.
    pub fn heard(&mut self, process: Process, connection: u64) -> Run {
        match self.process {
            Some((known, over)) if known != process && connection < over => Run::Former,
            Some((known, _)) if known != process => {
                self.process = Some((process, connection));
                Run::Another
            }
            before => {
                let over = before.map_or(connection, |(_, over)| over.max(connection));
                self.process = Some((process, over));
                Run::Same
            }
        }
    }
}
