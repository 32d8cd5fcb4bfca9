//! What the rest of the node may know of the core's state: a read-only view of each room and one of
//! people, replaced as a whole by steps.
//!
//! Workers find keys here, queries find names and who is online. Nothing here decides anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use klatch_core::crypto::group::RoomKeys;
use klatch_core::error::{CommandError, Reject};
use klatch_core::ids::{DeviceId, EpochId, IdentityId, RoomId, TopicId};
use klatch_core::place::{self, Opening, Place, RoomName};
use klatch_core::step::{PeopleView, RequestId, RoomView};

use crate::clock::Clocks;

/// Views, request bookkeeping and counters shared by the node's threads. Locks are held for moments
/// only.
#[derive(Debug, Default)]
pub struct Shared {
    rooms: RwLock<Rooms>,
    people: RwLock<Arc<PeopleView>>,
    awaited: Mutex<BTreeMap<RequestId, (Arc<RoomKeys>, Awaited)>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    read_only: RwLock<Option<String>>,
    name: RwLock<String>,
    clocks: Mutex<Clocks>,
}

#[derive(Debug, Default)]
struct Rooms {
    by_id: BTreeMap<RoomId, RoomView>,
    by_topic: BTreeMap<TopicId, RoomId>,
    by_epoch: BTreeMap<EpochId, RoomId>,
}

impl Rooms {
    fn names(&self) -> impl Iterator<Item = RoomName<'_>> + Clone {
        self.by_id.values().map(|v| RoomName {
            room: v.room,
            name: &v.name,
            left: !v.joined,
            passphrase: v.passphrase,
        })
    }
}

/// What an answer will bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// A page of history.
    Page,
    /// Bodies.
    Bodies,
}

/// Pages awaited at once: one per room and some that were given up.
const AWAITED_MAX: usize = 4_096;

impl Shared {
    /// Replaces the views that a step brought.
    pub fn update(&self, views: Vec<RoomView>) {
        if views.is_empty() {
            return;
        }
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        for view in views {
            rooms.by_topic.insert(view.keys.topic, view.room);
            rooms.by_epoch.insert(view.keys.epoch, view.room);
            rooms.by_id.insert(view.room, view);
        }
    }

    /// Nothing is known of these rooms any more.
    pub fn forget(&self, forgotten: &[RoomId]) {
        if forgotten.is_empty() {
            return;
        }
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        for id in forgotten {
            if let Some(view) = rooms.by_id.remove(id) {
                rooms.by_topic.remove(&view.keys.topic);
                rooms.by_epoch.remove(&view.keys.epoch);
            }
        }
    }

    /// Replaces what a step brought about people and conversations.
    pub fn set_people(&self, view: Option<PeopleView>) {
        if let Some(view) = view {
            *self.people.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        }
    }

    /// What may be known of people and conversations.
    #[must_use]
    pub fn people(&self) -> Arc<PeopleView> {
        self.people.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with<T>(&self, look: impl FnOnce(&Rooms) -> T) -> T {
        look(&self.rooms.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys of a followed topic, and whether this node forwards in it.
    #[must_use]
    pub fn by_topic(&self, topic: &TopicId) -> Option<(Arc<RoomKeys>, bool)> {
        self.with(|r| {
            let view =
                r.by_topic.get(topic).and_then(|id| r.by_id.get(id)).filter(|v| v.followed)?;
            Some((view.keys.clone(), view.forwarding))
        })
    }

    /// The keys of a followed epoch.
    #[must_use]
    pub fn by_epoch(&self, epoch: &EpochId) -> Option<Arc<RoomKeys>> {
        self.with(|r| {
            Some(
                r.by_epoch
                    .get(epoch)
                    .and_then(|id| r.by_id.get(id))
                    .filter(|v| v.followed)?
                    .keys
                    .clone(),
            )
        })
    }

    /// The keys of a room, left or not: history stays readable.
    #[must_use]
    pub fn keys(&self, room: &RoomId) -> Option<Arc<RoomKeys>> {
        self.with(|r| Some(r.by_id.get(room)?.keys.clone()))
    }

    /// One room's view.
    #[must_use]
    pub fn view(&self, room: &RoomId) -> Option<RoomView> {
        self.with(|r| r.by_id.get(room).cloned())
    }

    /// What a name or id means. Waits for nothing, so requests that follow one another are resolved
    /// in their order.
    ///
    /// # Errors
    /// [`CommandError`]: no such room or person, or several of that name.
    pub fn place(&self, wanted: &str) -> Result<Place, CommandError> {
        let people = self.people();
        self.with(|r| place::find(wanted, r.names(), &people.directory))
    }

    /// What `join` is to do about a name.
    ///
    /// # Errors
    /// [`CommandError`]: no name for a room, or an ambiguous mark.
    pub fn to_open(&self, wanted: &str, with_passphrase: bool) -> Result<Opening, CommandError> {
        self.with(|r| place::to_open(r.names(), wanted, with_passphrase))
    }

    /// The person that a name, fingerprint, identity or conversation means.
    ///
    /// # Errors
    /// [`CommandError`]: nobody, several people, the user.
    pub fn person(&self, wanted: &str) -> Result<IdentityId, CommandError> {
        place::find_person(&self.people().directory, wanted)
    }

    /// The person named at the front of a line, and what follows the name.
    ///
    /// # Errors
    /// As [`Shared::person`]; several names that fit.
    pub fn at_front<'a>(&self, line: &'a str) -> Result<(IdentityId, &'a str), CommandError> {
        place::at_front(&self.people().directory, line)
    }

    /// Whether any room sees a device now.
    #[must_use]
    pub fn is_present(&self, device: &DeviceId) -> bool {
        self.with(|r| r.by_id.values().any(|v| v.online.contains(device)))
    }

    /// A page, or bodies, are awaited under this request.
    pub fn await_page(&self, request: RequestId, keys: Arc<RoomKeys>, what: Awaited) {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.insert(request, (keys, what));
        while awaited.len() > AWAITED_MAX {
            awaited.pop_first();
        }
    }

    /// The answer or its failure is here.
    #[must_use]
    pub fn page_arrived(&self, request: RequestId) -> Option<(Arc<RoomKeys>, Awaited)> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&request)
    }

    /// Looks at what other devices said of their clocks, or notes it.
    pub fn clocks<T>(&self, look: impl FnOnce(&mut Clocks) -> T) -> T {
        look(&mut self.clocks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts something refused.
    pub fn refuse(&self, reject: Reject) {
        *self
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(reject.name())
            .or_default() += 1;
    }

    /// Refused so far, by reason.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<String, u64> {
        let counts = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
    }

    /// The store refuses writes, with the system's words, or takes them again.
    pub fn set_read_only(&self, cause: Option<String>) {
        *self.read_only.write().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    /// Why the store refuses writes, if it does.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        self.read_only.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The own display name.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the own display name.
    pub fn set_name(&self, name: String) {
        *self.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    }
}
