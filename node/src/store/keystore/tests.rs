//! Claims about the keystore, each on real files in a temporary folder.
