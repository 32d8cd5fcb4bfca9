//! What nodes say to each other about direct messages, decoded, with the signatures in it checked.

/// A frame that came from a peer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum VerifiedFrame {}

/// The answer to a frame of ours.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum VerifiedAnswer {}
