//! What a message says: the one place to add a message kind (PROTOCOL.md 6).
//!
//! Content is the plaintext of an entry's body. The kind stands in the header; the fields are a
//! CBOR array.

use serde::{Deserialize, Serialize};

use crate::cbor::{self, DecodeError};
use crate::identity::{self, DeviceCert};
use crate::ids::EntryId;
use crate::limits::{BODY_BYTES_MAX, EMOJI_BYTES_MAX, TEXT_BYTES_MAX};

/// The header's `kind` field. Numbers are never reused; 16-31 are kept for control entries of
/// private rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Name and device certificate; always the first entry of a chain.
    Profile,
    /// A text, perhaps a reply.
    Text,
    /// New text for an own earlier message.
    Edit,
    /// An own earlier message is withdrawn: its body is dropped.
    Delete,
    /// An emoji put on, or taken off, a message.
    Reaction,
    /// An announcement, shown apart from conversation.
    Notice,
    /// The author left the room.
    Leave,
    /// A kind that a newer version brought: kept, served and shown as such, so that versions can
    /// live in one room.
    Newer(u8),
}

/// Kinds that change what later entries mean (membership, keys): a version that does not know one
/// must not go on without it.
const CONTROL: std::ops::RangeInclusive<u8> = 16..=31;

impl Kind {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Profile => 0,
            Self::Text => 1,
            Self::Edit => 2,
            Self::Delete => 3,
            Self::Reaction => 4,
            Self::Notice => 5,
            Self::Leave => 6,
            Self::Newer(code) => code,
        }
    }

    /// The kind of a wire number; `None` for a control kind that this version does not know.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        let newer = (!CONTROL.contains(&code)).then_some(Self::Newer(code));
        [
            Self::Profile,
            Self::Text,
            Self::Edit,
            Self::Delete,
            Self::Reaction,
            Self::Notice,
            Self::Leave,
        ]
        .into_iter()
        .find(|k| k.code() == code)
        .or(newer)
    }

    /// Control-like entries are always signed and end a run (PROTOCOL.md 5.3).
    #[must_use]
    pub fn ends_run(self) -> bool {
        matches!(self, Self::Profile | Self::Leave)
    }

    /// Whether this is a line of the timeline (others change lines).
    #[must_use]
    pub fn is_line(self) -> bool {
        matches!(self, Self::Profile | Self::Text | Self::Notice | Self::Leave | Self::Newer(_))
    }
}

/// The opened body of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// See [`Kind::Profile`].
    Profile {
        /// Display name, a claim.
        name: String,
        /// Certificate that binds the writing device to a person.
        cert: DeviceCert,
    },
    /// See [`Kind::Text`].
    Text {
        /// UTF-8, at most [`TEXT_BYTES_MAX`] bytes.
        text: String,
        /// The message answered.
        reply_to: Option<EntryId>,
    },
    /// See [`Kind::Edit`].
    Edit {
        /// The message changed.
        target: EntryId,
        /// Its new text.
        text: String,
    },
    /// See [`Kind::Delete`].
    Delete {
        /// The message withdrawn.
        target: EntryId,
    },
    /// See [`Kind::Reaction`].
    Reaction {
        /// The message reacted to.
        target: EntryId,
        /// At most [`EMOJI_BYTES_MAX`] bytes.
        emoji: String,
        /// Put on or taken off.
        on: bool,
    },
    /// See [`Kind::Notice`].
    Notice {
        /// The announcement.
        text: String,
    },
    /// See [`Kind::Leave`].
    Leave,
    /// See [`Kind::Newer`]; what it says is not looked at.
    Newer(u8),
}

impl Content {
    /// The header's kind for this content.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Profile { .. } => Kind::Profile,
            Self::Text { .. } => Kind::Text,
            Self::Edit { .. } => Kind::Edit,
            Self::Delete { .. } => Kind::Delete,
            Self::Reaction { .. } => Kind::Reaction,
            Self::Notice { .. } => Kind::Notice,
            Self::Leave => Kind::Leave,
            Self::Newer(code) => Kind::Newer(*code),
        }
    }

    /// The message this content changes, if any.
    #[must_use]
    pub fn target(&self) -> Option<EntryId> {
        match self {
            Self::Edit { target, .. } | Self::Delete { target } | Self::Reaction { target, .. } => {
                Some(*target)
            }
            _ => None,
        }
    }

    /// The words that search looks at.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } | Self::Edit { text, .. } | Self::Notice { text } => Some(text),
            _ => None,
        }
    }

    /// The plaintext body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Profile { name, cert } => {
                cbor::encode(&(name, serde_bytes::Bytes::new(&cert.encode())))
            }
            Self::Text { text, reply_to } => cbor::encode(&(text, reply_to)),
            Self::Edit { target, text } => cbor::encode(&(target, text)),
            Self::Delete { target } => cbor::encode(&(target,)),
            Self::Reaction { target, emoji, on } => cbor::encode(&(target, emoji, on)),
            Self::Notice { text } => cbor::encode(&(text,)),
            Self::Leave | Self::Newer(_) => cbor::encode::<[u8; 0]>(&[]),
        }
    }

    /// Reads the plaintext body of an entry of this kind.
    ///
    /// # Errors
    /// [`DecodeError`] when malformed or a field is out of bounds.
    pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Self, DecodeError> {
        let content = match kind {
            Kind::Profile => {
                let (name, cert): (String, serde_bytes::ByteBuf) =
                    cbor::decode(bytes, BODY_BYTES_MAX)?;
                Self::Profile { name, cert: DeviceCert::decode(&cert)? }
            }
            Kind::Text => {
                let (text, reply_to) = cbor::decode(bytes, BODY_BYTES_MAX)?;
                Self::Text { text, reply_to }
            }
            Kind::Edit => {
                let (target, text) = cbor::decode(bytes, BODY_BYTES_MAX)?;
                Self::Edit { target, text }
            }
            Kind::Delete => {
                let (target,) = cbor::decode(bytes, BODY_BYTES_MAX)?;
                Self::Delete { target }
            }
            Kind::Reaction => {
                let (target, emoji, on) = cbor::decode(bytes, BODY_BYTES_MAX)?;
                Self::Reaction { target, emoji, on }
            }
            Kind::Notice => {
                let (text,) = cbor::decode(bytes, BODY_BYTES_MAX)?;
                Self::Notice { text }
            }
            Kind::Leave => {
                cbor::decode::<[u8; 0]>(bytes, 1)?;
                Self::Leave
            }
            Kind::Newer(code) => Self::Newer(code),
        };
        content.within_bounds().then_some(content).ok_or(DecodeError::Bounds)
    }

    /// Whether every field is within the limits of PROTOCOL.md 6.
    #[must_use]
    pub fn within_bounds(&self) -> bool {
        match self {
            Self::Profile { name, .. } => identity::valid_name(name),
            Self::Text { text, .. } | Self::Edit { text, .. } | Self::Notice { text } => {
                !text.is_empty() && text.len() <= TEXT_BYTES_MAX
            }
            Self::Reaction { emoji, .. } => {
                !emoji.is_empty()
                    && emoji.len() <= EMOJI_BYTES_MAX
                    && !emoji.chars().any(identity::is_unsafe_emoji)
            }
            Self::Delete { .. } | Self::Leave | Self::Newer(_) => true,
        }
    }
}
