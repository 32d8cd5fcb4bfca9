//! The table of methods as an OpenRPC document.
use serde_json::Value;
/// The version of this API.
pub const API_VERSION: u32 = 1;
/// The document.
#[must_use]
pub fn document() -> Value {
    super::registry::discover()
}
/// The page.
#[must_use]
pub fn markdown() -> String {
    String::new()
}
