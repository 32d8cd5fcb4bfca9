//! Claims about the store, each on real files in a temporary folder.
