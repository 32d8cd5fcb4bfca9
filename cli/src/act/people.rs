//! People: contacts, requests, names, verification. The wording here is shared by slash commands
//! and `klatch contact`.

use klatch_core::event::Message;
use klatch_core::ids::IdentityId;
use klatch_core::query::{Contact, Person, Standing, Verification};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Effect, Here, Outcome, Shown, Tone};
use crate::client::Session;
use crate::command::rooms::messages;
use crate::error::Report;
use crate::lines::marked;
use crate::output::visible;
use crate::slash::{self, Action, Then};

/// Lines of a stranger that are shown once they are let in; `/history` shows more.
const WAITED_SHOWN: u32 = 20;

pub(super) async fn act(session: &mut Session, action: Action) -> Result<Outcome, Report> {
    match action {
        Action::Contacts => {
            let list = contacts(session).await?;
            Ok(Outcome::list(
                &list,
                "nobody yet: `klatch send @WHO TEXT` begins a conversation with somebody from a room",
                line,
            ))
        }
        Action::Requests => {
            let all = contacts(session).await?;
            let list: Vec<Contact> = requests(&all).cloned().collect();
            Ok(Outcome::list(&list, "nobody waits for an answer", request))
        }
        Action::Accept { who, name } => {
            let done = change(session, "contact.accept", &who, json!({"petname": name})).await?;
            let mut outcome =
                Outcome::done(format!("{} is a contact now", shown(&done)), &done).wrote();
            let waited: Vec<Message> = session
                .ask("message.list", json!({"room": done.room, "limit": WAITED_SHOWN}))
                .await?;
            outcome.shown.extend(waited.into_iter().map(|m| Shown::Found(Box::new(m))));
            Ok(outcome)
        }
        Action::Block { who, blocked } => {
            let done = change(session, "contact.block", &who, json!({"blocked": blocked})).await?;
            let name = shown(&done);
            let text = if blocked {
                format!("{name} is blocked: everything they send to you is refused")
            } else {
                format!("{name} is no longer blocked")
            };
            Ok(Outcome::done(text, &done))
        }
        Action::Rename { who, name } => {
            let done = change(session, "contact.rename", &who, json!({"petname": name})).await?;
            let (name, claimed) = (shown(&done), visible(&done.claimed));
            let text = format!(
                "{} is shown as {name} here; they call themselves {claimed}",
                visible(&done.fingerprint)
            );
            Ok(Outcome::done(text, &done))
        }
        Action::Verify { who, equal: None } => {
            let person = get(session, &who).await?;
            let Some(codes) = codes(&person) else {
                return Ok(Outcome::done(no_codes(&person.contact), &person));
            };
            Ok(Outcome::data(format!("{codes}\n{}", ask(&person.contact)), &person))
        }
        Action::Verify { who, equal: Some(equal) } => {
            let done = change(session, "contact.verify", &who, json!({"verified": equal})).await?;
            Ok(if equal {
                let name = shown(&done);
                Outcome::done(
                    format!("{name} is verified: you will be warned if their keys change"),
                    &done,
                )
            } else {
                Outcome::default().and(Tone::Warning, differ(&done))
            })
        }
        Action::Whois(who) => whois(session, &who).await,
        _ => Ok(Outcome::default()),
    }
}

/// Everything known about a person.
pub(super) async fn whois(session: &mut Session, who: &str) -> Result<Outcome, Report> {
    let person = get(session, who).await?;
    Ok(Outcome::data(about(&person), &person))
}

/// Goes to the conversation with a person.
pub(super) async fn open(session: &mut Session, who: &str) -> Result<Outcome, Report> {
    let person = get(session, who).await?;
    let here = Here::with(&person.contact);
    let mut outcome = Outcome::note(format!("you are talking with {} now", visible(&here.name)));
    outcome.effect = Effect::Go(here);
    Ok(match warning(&person.contact) {
        Some(text) => outcome.and(Tone::Warning, text),
        None => outcome,
    })
}

/// Adds a warning if what was said went to somebody whose keys are not the compared ones.
pub(super) async fn warn_before_trust(
    session: &mut Session,
    outcome: Outcome,
) -> Result<Outcome, Report> {
    let Some(room) = outcome.sent.as_ref().map(|s| s.room) else { return Ok(outcome) };
    let warned = contacts(session).await?.iter().find(|c| c.room == room).and_then(warning);
    Ok(match warned {
        Some(text) => outcome.and(Tone::Warning, text),
        None => outcome,
    })
}

/// Finds out whom a line names and what follows: the node knows the names, which may have spaces in
/// them. Refused, and nothing is done, if several people could be meant.
pub(super) async fn addressed(session: &mut Session, action: Action) -> Result<Action, Report> {
    let Action::To { line, then } = action else { return Ok(action) };
    let found = front(session, &line).await?;
    let (who, rest) = (format!("@{}", found.identity), found.rest);
    Ok(match then {
        Then::Dm => Action::Dm { who, text: slash::unquoted(&rest) },
        Then::Accept => Action::Accept { who, name: Some(rest).filter(|n| !n.is_empty()) },
        Then::Rename => Action::Rename { who, name: Some(rest).filter(|n| !n.is_empty()) },
        Then::Verify => match (rest.as_str(), slash::choice(&rest, "yes", "no")) {
            ("", _) => Action::Verify { who, equal: None },
            (_, Some(equal)) => Action::Verify { who, equal: Some(equal) },
            (other, None) => {
                let cause = format!("`{}` is neither yes nor no", visible(other));
                return Err(Report::usage(cause, "/verify @WHO [yes|no]"));
            }
        },
    })
}

/// What `contact.find` answers.
#[derive(Debug, Deserialize)]
pub struct Front {
    /// Whom.
    pub identity: IdentityId,
    rest: String,
}

/// The person named at the front of a line.
///
/// # Errors
/// Nobody is named, or several could be.
pub async fn front(session: &mut Session, line: &str) -> Result<Front, Report> {
    session.ask("contact.find", json!({"text": line})).await
}

/// A name means several people, or a line several names.
const AMBIGUOUS: &str = "KLATCH-PERSON-AMBIGUOUS";

/// Refuses a name whose next words may be the rest of a longer one: a shell takes `@Mary Ann` apart
/// like any other words.
///
/// # Errors
/// Several could be meant. A name that is wrong by itself is for the command to refuse.
pub async fn whole_name(
    session: &mut Session,
    who: &str,
    more: &[String],
    command: &str,
) -> Result<(), Report> {
    let blank = |text: &str| text.contains(char::is_whitespace);
    // What has a blank in it was in quotes, and is what it is.
    let more: Vec<&str> = more.iter().map(String::as_str).take_while(|w| !blank(w)).collect();
    if !who.starts_with('@') || blank(who) || more.is_empty() {
        return Ok(());
    }
    if front(session, who).await.is_err() {
        return Ok(());
    }
    match front(session, &format!("{who} {}", more.join(" "))).await {
        Err(report) if report.code == AMBIGUOUS => {
            let next = more[0].trim_end_matches(|c: char| !c.is_alphanumeric());
            let hint = format!(
                "put the whole name in quotes: klatch {command} '{who} {}' ...; or name who is meant \
                 by the fingerprint, which `klatch whois {who}` shows",
                visible(next),
                who = visible(who),
            );
            Err(Report { hint, ..report })
        }
        _ => Ok(()),
    }
}

/// How the API is asked for a person: names get their `@`, so that none of them is taken for a
/// room.
pub fn address(who: &str) -> String {
    format!("@{}", who.trim().trim_start_matches('@'))
}

/// Everything about one person.
pub async fn get(session: &mut Session, who: &str) -> Result<Person, Report> {
    session.ask("contact.get", json!({"who": who})).await
}

/// The people kept or met in conversations.
pub async fn contacts(session: &mut Session) -> Result<Vec<Contact>, Report> {
    session.ask("contact.list", json!({})).await
}

/// Changes how a person is kept, and reads what came of it.
pub async fn change(
    session: &mut Session,
    method: &str,
    who: &str,
    mut params: Value,
) -> Result<Contact, Report> {
    params["who"] = json!(who);
    let reply = session.call(method, params).await?;
    let is_meant =
        |c: &Contact| reply["identity"].as_str() == Some(c.identity.to_string().as_str());
    // The list is quick; the codes of one person are not.
    match contacts(session).await?.into_iter().find(is_meant) {
        Some(contact) => Ok(contact),
        None => Ok(get(session, reply["identity"].as_str().unwrap_or(who)).await?.contact),
    }
}

/// Those who wait for an answer.
pub fn requests(all: &[Contact]) -> impl Iterator<Item = &Contact> {
    all.iter().filter(|c| c.standing == Standing::Requested)
}

/// The name of somebody, with what tells them from others who are called alike.
pub fn shown(contact: &Contact) -> String {
    marked(visible(&contact.name), contact.name_mark.as_deref())
}

/// How a person is typed in a command: the name, or the fingerprint if the name does not tell who is
/// meant, or has signs in it that a shell would take for its own.
pub fn typed(contact: &Contact) -> String {
    let letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let plain =
        !contact.name.is_empty() && contact.name.chars().all(letter) && contact.name_mark.is_none();
    format!("@{}", visible(if plain { &contact.name } else { &contact.fingerprint }))
}

/// One line of a list.
pub fn line(contact: &Contact) -> String {
    let mut words = vec![match contact.standing {
        Standing::Met => "met in rooms",
        Standing::Requested => "request",
        Standing::Accepted => "contact",
        Standing::Blocked => "blocked",
    }];
    words.extend(match contact.verification {
        Verification::Unverified => None,
        Verification::Verified => Some("verified"),
        Verification::Changed => Some("KEYS CHANGED"),
    });
    words.extend(contact.online.then_some("online"));
    let name = match &contact.petname {
        Some(petname) if *petname != contact.claimed => {
            format!("@{} (calls themselves {})", shown(contact), visible(&contact.claimed))
        }
        _ => format!("@{}", shown(contact)),
    };
    let unread =
        if contact.unread > 0 { format!(", {} unread", contact.unread) } else { String::new() };
    let fingerprint = visible(&contact.fingerprint);
    let messages = messages(contact.messages);
    format!("{name}\t{fingerprint}\t{}\t{messages}{unread}", words.join(", "))
}

/// A stranger who wrote, and what can be done about it.
pub fn request(contact: &Contact) -> String {
    let who = typed(contact);
    format!(
        "{} ({}) wants to talk to you, {} waiting: `klatch contact accept {who}` or \
         `klatch contact block {who}`",
        shown(contact),
        visible(&contact.fingerprint),
        contact.messages
    )
}

/// What must be said before anything is believed that comes from there.
pub fn warning(contact: &Contact) -> Option<String> {
    (contact.verification == Verification::Changed).then(|| {
        format!(
            "the keys of {} are not the ones that you compared: somebody else may be in between, or they have a new \
             device. Believe nothing until you have compared again: `klatch verify {}`",
            shown(contact),
            typed(contact)
        )
    })
}

/// Why there is nothing to compare.
pub fn no_codes(contact: &Contact) -> String {
    let name = shown(contact);
    format!(
        "no codes yet: they come once you and {name} have been connected after a first message, `klatch send {} hello`",
        typed(contact)
    )
}

/// The codes, in rows that can be read out, once the keys of the other side are known.
pub fn codes(person: &Person) -> Option<String> {
    /// Groups of five digits in a row.
    const ROW: usize = 4;
    let groups: Vec<&str> = person.digits.split_whitespace().collect();
    let digits: Vec<String> =
        groups.chunks(ROW).map(|row| format!("  {}", row.join(" "))).collect();
    let emoji: Vec<String> = person
        .emoji
        .iter()
        .map(|e| format!("{} {}", visible(&e.emoji), visible(&e.name)))
        .collect();
    let rows = digits.iter().map(|r| visible(r)).collect::<Vec<_>>().join("\n");
    (!digits.is_empty()).then(|| format!("{rows}\n  {}", emoji.join(" · ")))
}

/// What to do with the codes.
fn ask(contact: &Contact) -> String {
    let (name, who) = (shown(contact), typed(contact));
    format!(
        "{name} sees the same digits and emoji if nobody is in between. Compare either, by phone or side by side.\n\
         equal: /verify {who} yes · different: /verify {who} no"
    )
}

/// What different codes mean.
pub fn differ(contact: &Contact) -> String {
    let name = shown(contact);
    format!(
        "{name} is not verified: with different codes somebody may be in between; tell {name} nothing secret here"
    )
}

/// Everything about a person, in lines.
pub fn about(person: &Person) -> String {
    let contact = &person.contact;
    let mut text = line(contact).replace('\t', " · ");
    text.push_str(&format!("\nidentity  {}", contact.identity));
    if !person.rooms.is_empty() {
        let rooms: Vec<String> = person.rooms.iter().map(|r| visible(r)).collect();
        text.push_str(&format!("\nrooms     {}", rooms.join(", ")));
    }
    for device in &person.devices {
        text.push_str(&format!("\ndevice    {device}"));
    }
    if let Some(warning) = warning(contact) {
        text.push_str(&format!("\nWARNING   {warning}"));
    } else if contact.verification == Verification::Unverified {
        text.push_str(&format!("\nnot compared yet: `klatch verify {}`", typed(contact)));
    }
    text
}
