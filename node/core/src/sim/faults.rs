//! Deliberate mistakes, so that the simulator can prove that it would notice real ones (feature
//! `faults`, tests only).
//!
//! A hook in the core reads `if planted!(Name)` and costs nothing without the feature. At most one
//! is active per thread.

use std::cell::Cell;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A mistake that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Worlds of chance do not meet it: a story tells of it, with the mistake and without.
            #[must_use]
            pub fn is_told(self) -> bool {
                matches!(self, Self::PatienceRenewed | Self::EveryBeaconPassed | Self::GoodbyeOnce)
            }

            /// Made in direct messages: hunted in their worlds.
            #[must_use]
            pub fn is_direct(self) -> bool {
                self >= Self::DirectNoRetry
            }

            /// What is done wrong, in words.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

faults! {
    /// messages leave before they are committed
    SendBeforeCommit,
    /// an acknowledgement leaves before the commit
    AckBeforeCommit,
    /// a message that is known is told again
    ForgetDuplicates,
    /// an entry is taken in over a gap in its chain
    AcceptGap,
    /// an entry is taken in without its parents
    AcceptOrphan,
    /// a peer that failed once is never asked again
    NoSyncRetry,
    /// only the first page of a sync is asked for
    OnePageOnly,
    /// a parked run is taken for one that is stored
    ParkedForgotten,
    /// beacons are not compared with the own log
    BeaconIgnored,
    /// no beacon is ever sent
    NoBeacon,
    /// display order depends on the local clock
    OrderByArrival,
    /// the own clock stays ahead once it was
    ClockNeverBack,
    /// nothing is forwarded
    ForwardNever,
    /// after a restart the last own position is used again
    ReuseOwnSeq,
    /// signatures of entries are not checked
    SkipSignature,
    /// the lamport rule is not checked
    SkipLamport,
    /// a page is served without its bodies
    LoseBody,
    /// acknowledgements do not open the window
    WindowStuck,
    /// any progress renews the patience with who acknowledges slowly
    PatienceRenewed,
    /// every beacon is passed on, whatever it says
    EveryBeaconPassed,
    /// a goodbye is said once and not waited for
    GoodbyeOnce,
    /// the reply to a failed command is forgotten
    ForgetReply,
    /// acknowledgements are counted without looking whose entries they name
    CountAnyAck,
    /// what was lost on a former connection is not said again
    RenewalIgnored,
    /// whoever follows the topic is asked for history
    AskAnybody,
    /// whoever passes on what breaks a rule of the log is blamed
    ForwarderBlamed,
    /// parked runs have no bound
    ParkWithoutBound,
    /// a gap that nobody can fill is asked for without pause
    AskWithoutPause,
    /// the body of a withdrawn message stays on disk
    KeepDeleted,
    /// bodies that are lacking are never asked for
    BodiesNeverAsked,
    /// a body is dropped when anybody withdraws the message
    AnyoneDeletes,
    /// anybody's edit of a message counts
    AnyoneEdits,
    /// a direct message that failed once is never sent again
    DirectNoRetry,
    /// strangers may write without limit
    GateOpen,
    /// what moved in a session is not stored with the message
    RatchetUnsaved,
    /// a direct message that is known is shown again
    ForgetSeen,
    /// a withdrawal that came before its message is forgotten
    OrphanForgotten,
    /// a direct message is acknowledged but not stored
    AckUnstored,
    /// an acknowledgement of direct messages names one more
    DirectAckAhead,
    /// direct messages are sealed without a window
    NoWindow,
    /// two direct messages have one number
    NumberTwice,
    /// an acknowledgement counts for every direct message of its session
    AckAnything,
    /// a session that the other side lost is not replaced
    LossIgnored,
    /// a message that was deleted before it left stays in the queue
    DeletedStaysQueued,
}

thread_local! {
    static ACTIVE: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Plants a mistake on this thread, or none.
pub fn plant(fault: Option<Fault>) {
    ACTIVE.with(|a| a.set(fault));
}

/// Whether this mistake is planted on this thread.
#[must_use]
pub fn active(fault: Fault) -> bool {
    ACTIVE.with(Cell::get) == Some(fault)
}
