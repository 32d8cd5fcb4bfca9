//! `klatch passphrase`: sets, changes or takes off the passphrase of a profile.

use klatch_core::command::Passphrase as Secret;
use serde_json::json;

use super::init::new_passphrase;
use crate::args::Passphrase;
use crate::context::{Context, read_secret};
use crate::error::Report;
use crate::session::lock;

/// What nobody should believe of a new passphrase.
const FORMER_COPIES: &str = "the keys behind it are the same: a copy of the profile, or of its \
    file `keystore`, that was made before still opens with what opened it then, and opens what is \
    written from now on, too. If somebody may have one, start anew: klatch --profile NEW init";

/// Writes the keystore anew under another passphrase. The database keeps its key.
pub fn run(ctx: &Context, args: &Passphrase) -> Result<(), Report> {
    // A node that runs, or a second change at the same time, must not meet a keystore that is being
    // replaced.
    let _lock = lock(&ctx.paths)?;
    let old = ctx.unlock()?.map(Secret);
    let new = match &args.new_file {
        Some(file) => Some(read_secret(file)?),
        None if args.remove => None,
        None if ctx.can_ask() => Some(new_passphrase()?),
        None => {
            return Err(Report::usage(
                "there is no terminal to ask on",
                "give --new-file FILE, or --remove",
            ));
        }
    };
    let new = new.map(Secret);
    ctx.keystore().change_passphrase(old.as_ref(), new.as_ref())?;
    if new.is_some() {
        // Drafts of the full screen are readable; from now on nothing is.
        crate::tui::forget(&ctx.paths.data);
    }
    ctx.out.note(FORMER_COPIES);
    ctx.out.either(&json!({"passphrase": new.is_some()}), || {
        let done = if new.is_some() {
            "the profile has a new passphrase"
        } else {
            "the profile has no passphrase any more"
        };
        done.to_owned()
    })
}
