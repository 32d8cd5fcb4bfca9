//! Which gossip topics exist for us: the set of followed ones, and what is let in of others.
//!
//! Peers may tell us about topics we do not follow, within limits: if such a subscription were
//! refused, a room joined later would never learn who follows it already (gossipsub announces a
//! topic only once per link). *Messages* on topics that are not ours are refused before gossipsub
//! keeps them in its history.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use klatch_core::ids::TopicId;
use libp2p::gossipsub::{
    DataTransform, IdentTopic, MaxCountSubscriptionFilter, Message, RawMessage, TopicHash,
    TopicSubscriptionFilter,
};

use super::counters::{Counters, count};
use super::settings::TOPICS_PER_PEER_MAX;

/// The followed topics by their gossipsub name.
#[derive(Debug, Clone, Default)]
pub(super) struct Topics(Arc<RwLock<BTreeMap<TopicHash, TopicId>>>);

impl Topics {
    pub(super) fn insert(&self, topic: TopicId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(ident(topic).hash(), topic);
    }

    pub(super) fn remove(&self, topic: TopicId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&ident(topic).hash());
    }

    pub(super) fn find(&self, hash: &TopicHash) -> Option<TopicId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(hash).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// The gossipsub topic of a [`TopicId`]: its text form.
pub(super) fn ident(topic: TopicId) -> IdentTopic {
    IdentTopic::new(topic.to_string())
}

/// What a peer may claim to follow: at most [`TOPICS_PER_PEER_MAX`] well-formed names.
pub(super) type Filter = MaxCountSubscriptionFilter<WellFormed>;

/// The filter of every node.
pub(super) fn filter() -> Filter {
    MaxCountSubscriptionFilter {
        filter: WellFormed,
        max_subscribed_topics: TOPICS_PER_PEER_MAX,
        max_subscriptions_per_request: TOPICS_PER_PEER_MAX,
    }
}

/// Lets names of topics through and nothing longer or other, so that a count bounds their memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WellFormed;

impl TopicSubscriptionFilter for WellFormed {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        TopicId::parse(topic.as_str()).is_some()
    }
}

/// Refuses messages on topics that are not followed, before anything is stored of them.
#[derive(Debug, Clone)]
pub(super) struct OwnTopicsOnly {
    pub(super) topics: Topics,
    pub(super) counters: Arc<Counters>,
}

impl DataTransform for OwnTopicsOnly {
    fn inbound_transform(&self, raw: RawMessage) -> Result<Message, io::Error> {
        if self.topics.find(&raw.topic).is_none() {
            count(&self.counters.gossip_foreign);
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Message {
            source: raw.source,
            data: raw.data,
            sequence_number: raw.sequence_number,
            topic: raw.topic,
        })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> Result<Vec<u8>, io::Error> {
        Ok(data)
    }
}
