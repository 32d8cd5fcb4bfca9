//! `klatch init`, and the identity that other commands make on first use: at most two questions,
//! both with a default.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use klatch_core::command::Passphrase;
use klatch_core::names::check_name;
use klatch_node::store::keystore::Secrets;
use serde_json::json;

use crate::args::Init;
use crate::context::{Context, ask, ask_secret, confirm, read_secret};
use crate::error::{Report, exit};
use crate::output::visible;
use crate::session::lock;

const FIRST: [&str; 16] = [
    "quiet", "bright", "early", "gentle", "merry", "nimble", "patient", "sunny", "brave", "calm",
    "clever", "cosy", "keen", "lucky", "mellow", "witty",
];
const SECOND: [&str; 16] = [
    "otter", "robin", "heron", "badger", "maple", "finch", "hazel", "lark", "marten", "newt",
    "plover", "rowan", "sorrel", "thrush", "vole", "wren",
];

/// Makes an identity, once.
pub async fn run(ctx: &Context, args: &Init) -> Result<(), Report> {
    if ctx.keystore().exists() {
        return Err(Report::new(
            "KLATCH-IDENTITY-EXISTS",
            format!("profile {} has an identity already; it was not touched", ctx.args.profile),
            "another one: klatch --profile NAME init",
            exit::USAGE,
        ));
    }
    let file = args.passphrase_file.as_ref().or(ctx.args.unlock_file.as_ref());
    let passphrase = match file {
        Some(file) if !args.no_passphrase => Some(read_secret(file)?),
        _ => None,
    };
    let asks = file.is_none() && !args.no_passphrase;
    let made = create(ctx, passphrase, asks)?;
    ctx.out.either(&made, || {
        let name = visible(made["name"].as_str().unwrap_or_default());
        format!("you are {name}; next: klatch chat '#lobby'")
    })
}

/// For a node that shall run: makes the identity if there is none and somebody asked for one. A
/// mistyped profile or another HOME in a service must not become a new person.
pub fn asked_for(ctx: &Context) -> Result<(), Report> {
    if ctx.keystore().exists() || ctx.args.name.is_some() {
        return ensure(ctx);
    }
    let profile = &ctx.args.profile;
    Err(Report::new(
        "KLATCH-NO-IDENTITY",
        format!("there is no identity in profile {profile} ({})", ctx.paths.data.display()),
        "`klatch init` makes one, and so does --name NAME here; if there should be one already, \
         check --profile, HOME and KLATCH_HOME",
        exit::USAGE,
    ))
}

/// Makes the identity if there is none yet, so that the first command of a newcomer just works.
pub fn ensure(ctx: &Context) -> Result<(), Report> {
    if ctx.keystore().exists() {
        return Ok(());
    }
    ctx.out.note("Welcome. Nobody but you holds your key; there is no account and no server.");
    let passphrase = ctx.args.unlock_file.as_ref().map(|f| read_secret(f)).transpose()?;
    let asks = passphrase.is_none();
    let made = create(ctx, passphrase, asks)?;
    let name = visible(made["name"].as_str().unwrap_or_default());
    ctx.note_at_start(&format!("* you are {name} from now on; /nick NAME in a chat changes it"));
    Ok(())
}

fn create(
    ctx: &Context,
    mut passphrase: Option<String>,
    asks: bool,
) -> Result<serde_json::Value, Report> {
    let name = name(ctx)?;
    if asks && ctx.can_ask() && confirm("Protect your key and history with a passphrase? [y/N] ")? {
        passphrase = Some(new_passphrase()?);
    }
    ctx.paths.create()?;
    let _lock = lock(&ctx.paths)?;
    let passphrase = passphrase.map(Passphrase);
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    Secrets::generate(&name, now)
        .and_then(|secrets| ctx.keystore().create(&secrets, passphrase.as_ref()))
        .map_err(|e| Report::from(e).doing("cannot make an identity"))?;
    Ok(json!({
        "profile": ctx.args.profile, "name": name, "passphrase": passphrase.is_some(),
        "data": ctx.paths.data.display().to_string(),
    }))
}

/// The name from the options, from the user, or a friendly one.
fn name(ctx: &Context) -> Result<String, Report> {
    let checked = |name: &str| match check_name(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(e) => Err(Report::new(e.code(), e.to_string(), e.hint(), e.exit())),
    };
    if let Some(name) = &ctx.args.name {
        return checked(name.trim());
    }
    let proposal = friendly_name();
    if !ctx.can_ask() {
        return Ok(proposal);
    }
    match ask(&format!("Your name for others [{proposal}]: "))? {
        None => Ok(proposal),
        Some(name) => checked(&name),
    }
}

/// Asks twice, because nobody can restore it.
pub fn new_passphrase() -> Result<String, Report> {
    let first = ask_secret("Passphrase (nobody can restore it): ")?;
    let second = ask_secret("Once more: ")?;
    if first == second {
        return Ok(first);
    }
    Err(Report::usage("the two passphrases differ", "try again; nothing was made yet"))
}

/// Two words, drawn by chance: nothing depends on it but the looks.
fn friendly_name() -> String {
    let chance =
        usize::try_from(RandomState::new().build_hasher().finish() % 256).unwrap_or_default();
    format!("{}-{}", FIRST[chance / 16], SECOND[chance % 16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friendly_names_are_names() {
        for _ in 0..100 {
            assert!(check_name(&friendly_name()).is_ok());
        }
    }
}
