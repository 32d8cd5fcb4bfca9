//! Conversations with one person: people, sessions, frames, the outbox (PROTOCOL.md, direct messages).

pub mod frame;
pub mod people;
pub mod timeline;
pub mod verify;
