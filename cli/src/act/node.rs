//! The own name and settings, the node, and the routes to others.

use klatch_core::event::Path;
use klatch_core::query::{Host, Mdns, PeerSummary, Person, Status};
use serde_json::{Value, json};

use super::{Outcome, people};
use crate::client::Session;
use crate::command::doctor::{Asked, examine};
use crate::command::status;
use crate::error::Report;
use crate::output::visible;
use crate::paths::Paths;
use crate::slash::Action;

pub(super) async fn act(session: &mut Session, action: Action) -> Result<Outcome, Report> {
    match action {
        Action::Nick(name) => {
            session.call("profile.set", json!({"name": name})).await?;
            Ok(Outcome::note(format!("you are {} now", visible(&name))).wrote())
        }
        Action::Receipts(on) => {
            privacy(session, "receipts", on, "when you have read what they wrote to you").await
        }
        Action::Typing(on) => privacy(session, "typing", on, "when you are writing to them").await,
        Action::Connect(address) => {
            let done = session.call("peer.add", json!({"address": address})).await?;
            let shown = visible(done["address"].as_str().unwrap_or_default());
            Ok(Outcome::note(format!(
                "looking for {shown}; /net shows how it goes. Once it has answered it is remembered"
            )))
        }
        Action::Doctor => {
            let paths = Paths::new(&session.profile)?;
            let found = examine(&paths, Asked::new(&session.profile, false)).await;
            Ok(Outcome::data(found.lines().join("\n"), &found.json()))
        }
        Action::Trace(who) => trace(session, &who).await,
        action => {
            let status = session.status().await?;
            Ok(match action {
                Action::Online => Outcome::data(status::peers(&status), &status.peers),
                Action::Whoami => {
                    let json = json!({"name": status.name, "identity": status.identity, "device": status.device});
                    Outcome::data(status::who(&status), &json)
                }
                Action::Net => Outcome::data(net(&status), &status),
                _ => Outcome::data(status::text(&status), &status),
            })
        }
    }
}

async fn privacy(
    session: &mut Session,
    key: &str,
    on: Option<bool>,
    what: &str,
) -> Result<Outcome, Report> {
    let on = match on {
        Some(on) => {
            session.call("privacy.set", json!({ key: on })).await?;
            on
        }
        None => {
            let status = serde_json::to_value(session.status().await?).unwrap_or(Value::Null);
            status[key].as_bool().unwrap_or_default()
        }
    };
    let word = if on { "are told" } else { "are not told" };
    let text = format!("{key} {}: others {word} {what}", if on { "on" } else { "off" });
    Ok(Outcome::done(text, &json!({ key: on })))
}

/// Addresses, how others are looked for, and connections.
fn net(status: &Status) -> String {
    let mut lines: Vec<String> = status
        .listening
        .iter()
        .map(|address| format!("listen    {}/p2p/{}", visible(address), visible(&status.peer_id)))
        .collect();
    lines.push(format!("reach     {}", status::reach(status)));
    if let Some(discovery) = &status.discovery {
        let mdns = match discovery.mdns {
            Mdns::Off => "off",
            Mdns::On => "on",
            Mdns::Failed => "refused by the system",
        };
        lines.push(format!(
            "lan       discovery {mdns} · {} found · {} known but missing",
            discovery.found, discovery.missing
        ));
    }
    if status.host == Some(Host::Command) {
        lines.push(
            "node      inside this program: it ends with it (`klatch up` starts one in the background)".to_owned(),
        );
    }
    lines.push(status::peers(status));
    lines.extend(status.wanted.iter().map(|w| format!("wanted    {}", status::wanted(w))));
    lines.join("\n")
}

/// The connections to a person: those at whose other end a device of theirs signed that it is there.
async fn trace(session: &mut Session, who: &str) -> Result<Outcome, Report> {
    let person: Person = people::get(session, who).await?;
    let status = session.status().await?;
    let name = people::shown(&person.contact);
    let theirs = Some(person.contact.identity);
    let ways: Vec<&PeerSummary> = status.peers.iter().filter(|p| p.identity == theirs).collect();
    if ways.is_empty() {
        let text = if person.contact.online {
            format!(
                "{name} is online, but not connected with you directly: others carry what you say"
            )
        } else {
            format!("no connection with {name} now; what you say waits here and goes out by itself")
        };
        return Ok(Outcome::data(text, &json!({"online": person.contact.online, "ways": []})));
    }
    let text = ways.iter().map(|p| format!("{name}  {}", way(p))).collect::<Vec<_>>().join("\n");
    Ok(Outcome::data(text, &json!({"online": person.contact.online, "ways": ways})))
}

fn way(peer: &PeerSummary) -> String {
    let path = match peer.path {
        Path::Loopback => "on this machine",
        Path::Lan => "in the same network",
        Path::Direct => "directly across the internet",
        Path::Relay => "through a relay",
        _ => "by a way that a newer version knows",
    };
    let rtt = peer.rtt_ms.map_or_else(
        || "not measured yet".to_owned(),
        |ms| match ms {
            0 => "less than 1 ms there and back".to_owned(),
            ms => format!("{ms} ms there and back"),
        },
    );
    format!("{path} · {rtt} · {}", visible(&peer.address))
}
