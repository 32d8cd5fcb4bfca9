//! `klatch contact`, `verify`, `whois`, `privacy` and `message broadcast`: the slash commands of
//! the same names, from the command line.

use super::help;
use crate::act::{Effect, Outcome, Shown, Tone, act, forget, people};
use crate::args::Network;
use crate::args::people::{Contact, OnePerson, Privacy, Verify};
use crate::context::{Context, Need, confirm};
use crate::error::{Report, exit};
use crate::slash::Action;

/// Does what was asked for.
pub async fn run(ctx: &Context, args: Contact) -> Result<(), Report> {
    match args {
        Contact::List => once(ctx, Need::History, Action::Contacts).await,
        Contact::Requests => once(ctx, Need::History, Action::Requests).await,
        Contact::Show(person) => whois(ctx, person).await,
        // What waited is acknowledged, which needs others.
        Contact::Accept { person, petname } => {
            once(
                ctx,
                Need::Network(Network::usual()),
                Action::Accept { who: person.who, name: petname },
            )
            .await
        }
        Contact::Rename { person, name } => {
            if let Some(name) = &name {
                let mut session = ctx.session(Need::History).await?;
                let more = std::slice::from_ref(name);
                people::whole_name(&mut session, &person.who, more, "contact rename").await?;
            }
            once(ctx, Need::History, Action::Rename { who: person.who, name }).await
        }
        Contact::Block(person) => {
            once(ctx, Need::History, Action::Block { who: person.who, blocked: true }).await
        }
        Contact::Unblock(person) => {
            once(ctx, Need::History, Action::Block { who: person.who, blocked: false }).await
        }
        Contact::Forget { person, yes } => forget_person(ctx, &person.who, yes).await,
        Contact::Verify(args) => verify(ctx, args).await,
    }
}

/// Deletes a conversation, once it is clear that this is meant.
async fn forget_person(ctx: &Context, who: &str, yes: bool) -> Result<(), Report> {
    let mut session = ctx.session(Need::History).await?;
    let contact = people::get(&mut session, who).await?.contact;
    let question = forget::lost_with(&contact);
    let agreed = yes || (ctx.can_ask() && confirm(&format!("{question} [y/N] "))?);
    if !agreed {
        let cause = format!("not confirmed, so not done: {question}");
        let hint = format!("klatch contact forget {} --yes", people::typed(&contact));
        return Err(Report::new("KLATCH-CONFIRM", cause, hint, exit::USAGE));
    }
    let done = forget::person(&mut session, &contact).await?;
    crate::tui::forget_draft(&ctx.paths.data, contact.room);
    drop(session);
    ctx.finish(false).await;
    let json = serde_json::json!({
        "identity": contact.identity, "name": contact.name, "forgotten": true,
        "messages": contact.messages,
    });
    ctx.out.either(&json, || done)
}

/// Everything known about a person, and the codes.
pub async fn whois(ctx: &Context, person: OnePerson) -> Result<(), Report> {
    let mut session = ctx.session(Need::History).await?;
    let person = people::get(&mut session, &person.who).await?;
    drop(session);
    ctx.finish(false).await;
    let codes =
        people::codes(&person).map_or_else(String::new, |codes| format!("\ncodes\n{codes}"));
    ctx.out.either(&person, || format!("{}{codes}", people::about(&person)))
}

/// Shows the codes and asks; with `--yes` or `--no` the answer is given.
pub async fn verify(ctx: &Context, args: Verify) -> Result<(), Report> {
    let who = args.person.who;
    let mut equal = (args.yes || args.no).then_some(args.yes);
    if equal.is_none() {
        let mut session = ctx.session(Need::History).await?;
        let person = people::get(&mut session, &who).await?;
        let Some(codes) = people::codes(&person) else {
            drop(session);
            ctx.finish(false).await;
            return ctx.out.either(&person, || people::no_codes(&person.contact));
        };
        ctx.out.either(&person, || codes)?;
        let name = people::shown(&person.contact);
        ctx.out.note(&format!(
            "{name} sees the same digits and emoji if nobody is in between. Compare either, by phone or side by side."
        ));
        if !ctx.can_ask() {
            ctx.out.note("equal: `klatch verify @WHO --yes`; different: `klatch verify @WHO --no`");
            drop(session);
            ctx.finish(false).await;
            return Ok(());
        }
        equal = Some(confirm(&format!("Are they equal on {name}'s screen? [y/N] "))?);
        let now = people::get(&mut session, &person.contact.identity.to_string()).await?;
        if now.digits != person.digits {
            let cause = format!("the keys of {name} changed while you compared");
            return Err(Report::new(
                "KLATCH-KEYS-CHANGED",
                cause,
                "klatch verify again",
                exit::FAILED,
            ));
        }
        drop(session);
        ctx.finish(false).await;
    }
    once(ctx, Need::History, Action::Verify { who, equal }).await
}

/// Explains what others can learn, or changes what they are told.
pub async fn privacy(ctx: &Context, args: Privacy) -> Result<(), Report> {
    if args.receipts.is_none() && args.typing.is_none() {
        if !ctx.out.json {
            help::run(ctx, &["privacy".to_owned()])?;
        }
        let mut session = ctx.session(Need::History).await?;
        let status = session.status().await?;
        drop(session);
        ctx.finish(false).await;
        let word = |on| if on { "on" } else { "off" };
        let now = serde_json::json!({"receipts": status.receipts, "typing": status.typing});
        return ctx.out.either(&now, || {
            format!("\nreceipts  {}\ntyping    {}", word(status.receipts), word(status.typing))
        });
    }
    let receipts = args.receipts.map(|s| Action::Receipts(Some(s.is_on())));
    let typing = args.typing.map(|s| Action::Typing(Some(s.is_on())));
    for action in [receipts, typing].into_iter().flatten() {
        once(ctx, Need::History, action).await?;
    }
    Ok(())
}

/// Says something in every room, once the user has seen which these are.
pub async fn broadcast(ctx: &Context, text: String, yes: bool) -> Result<(), Report> {
    let mut session = ctx.session(Need::Network(Network::usual())).await?;
    let mut outcome =
        act(&mut session, None, &[], Action::Broadcast { text, confirmed: false }).await?;
    if let Effect::Confirm { question, action } = outcome.effect {
        if !yes && !ctx.can_ask() {
            let cause = format!("not asked, so not done: {question}");
            return Err(Report::new("KLATCH-CONFIRM", cause, "give --yes", exit::USAGE));
        }
        if !yes && !confirm(&format!("{question} [y/N] "))? {
            return Err(Report::new(
                "KLATCH-CONFIRM",
                "not said",
                "nothing was sent",
                exit::FAILED,
            ));
        }
        outcome = act(&mut session, None, &[], *action).await?;
    }
    drop(session);
    ctx.finish(outcome.wrote).await;
    print(ctx, outcome)
}

/// Carries out one slash command and prints what came of it.
async fn once(ctx: &Context, need: Need, action: Action) -> Result<(), Report> {
    let mut session = ctx.session(need).await?;
    let outcome = act(&mut session, None, &[], action).await?;
    drop(session);
    ctx.finish(outcome.wrote).await;
    print(ctx, outcome)
}

fn print(ctx: &Context, outcome: Outcome) -> Result<(), Report> {
    for shown in outcome.shown {
        match shown {
            Shown::Text { tone: Tone::Warning, text, .. } => ctx.out.warning(&text),
            Shown::Text { json: Some(json), text, .. } => ctx.out.either(&json, || text)?,
            Shown::Text { text, .. } => ctx.out.note(&text),
            Shown::Found(_) => {}
        }
    }
    Ok(())
}
