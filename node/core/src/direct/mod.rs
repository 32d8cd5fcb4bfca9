//! Conversations with one person: people, sessions, frames, the outbox (PROTOCOL.md, direct messages).

pub mod frame;
