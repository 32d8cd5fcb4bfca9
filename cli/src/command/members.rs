//! `klatch members` and `klatch room mute`, and finding a member by what the user typed.

use klatch_core::ids::IdentityId;
use klatch_core::query::Member;
use serde_json::json;

use crate::act::people;
use crate::client::Session;
use crate::context::{Context, Need};
use crate::error::{Report, exit};
use crate::lines::marked;
use crate::output::{Output, visible};

/// Lists who has been seen in a room.
pub async fn run(ctx: &Context, room: &str) -> Result<(), Report> {
    let mut session = ctx.session(Need::History).await?;
    let members: Vec<Member> = session.ask("room.members", json!({"room": room})).await?;
    drop(session);
    ctx.finish(false).await;
    print(&ctx.out, &members)
}

/// Hides or shows a member.
pub async fn mute(ctx: &Context, room: &str, who: &str, muted: bool) -> Result<(), Report> {
    let mut session = ctx.session(Need::History).await?;
    let member = find(&mut session, room, who).await?;
    session
        .call("room.mute", json!({"room": room, "device": member.device, "muted": muted}))
        .await?;
    let word = if muted { "hidden" } else { "shown" };
    ctx.out.either(&json!({"device": member.device, "muted": muted}), || {
        format!("{} is {word} in {}, only on your side", shown(&member), visible(room))
    })
}

/// One line, or one object, per member.
pub fn print(out: &Output, members: &[Member]) -> Result<(), Report> {
    for member in members {
        out.either(member, || line(member))?;
    }
    Ok(())
}

/// One line.
pub fn line(member: &Member) -> String {
    let mut words = vec![if member.own || member.online { "online" } else { "offline" }];
    words.extend(member.own.then_some("you"));
    words.extend(member.muted.then_some("muted"));
    words.extend(member.forked.then_some("wrote two histories"));
    format!("{}\t{}\t{}", shown(member), visible(&member.fingerprint), words.join(", "))
}

/// The name, with what tells its bearer from others in the room.
pub fn shown(member: &Member) -> String {
    marked(visible(&member.name), member.name_mark.as_deref())
}

/// The one member of that name, fingerprint or device id. The node decides whom a name means, as for
/// every other command.
pub async fn find(session: &mut Session, room: &str, who: &str) -> Result<Member, Report> {
    let members: Vec<Member> = session.ask("room.members", json!({"room": room})).await?;
    let device = who.trim_start_matches('@').to_lowercase();
    if let Some(member) = members.iter().find(|m| m.device.to_string() == device) {
        return Ok(member.clone());
    }
    let person = people::get(session, &people::address(who)).await?;
    pick(members, person.contact.identity, who)
}

fn pick(members: Vec<Member>, person: IdentityId, who: &str) -> Result<Member, Report> {
    let theirs = |m: &Member| m.identity == Some(person);
    let mut found: Vec<Member> = members.into_iter().filter(theirs).collect();
    match (found.len(), found.pop()) {
        (1, Some(member)) => Ok(member),
        (0, _) => Err(Report::new(
            "KLATCH-MEMBER-NOT-FOUND",
            format!("there is no {} in that room", visible(who)),
            "`klatch members ROOM` lists them",
            exit::NOT_FOUND,
        )),
        (_, last) => {
            let all = found.iter().chain(&last).map(|m| m.device.to_string());
            let hint = format!("name one of them: {}", all.collect::<Vec<_>>().join(", "));
            let cause = format!("{} is there with several devices", visible(who));
            Err(Report::new("KLATCH-AMBIGUOUS", cause, hint, exit::USAGE))
        }
    }
}

#[cfg(test)]
mod tests {
    use klatch_core::ids::DeviceId;

    use super::*;

    fn member(n: u8, name: &str) -> Member {
        Member {
            device: DeviceId([n; 32]),
            identity: Some(IdentityId([n; 32])),
            name: name.to_owned(),
            fingerprint: format!("AAAA-{n}"),
            name_mark: None,
            typed_mark: None,
            online: false,
            own: false,
            last_seen_ms: 0,
            muted: false,
            forked: false,
        }
    }

    #[test]
    fn somebody_with_two_devices_in_a_room_is_asked_about() {
        let second = Member { identity: Some(IdentityId([2; 32])), ..member(4, "bob") };
        let members = || vec![member(2, "bob"), member(3, "carol"), second.clone()];
        let of = |n: u8, who: &str| pick(members(), IdentityId([n; 32]), who);
        assert_eq!(of(3, "@carol").unwrap().device, DeviceId([3; 32]));
        let error = of(2, "bob").unwrap_err();
        assert_eq!(error.code, "KLATCH-AMBIGUOUS");
        assert!([2, 4].iter().all(|n| error.hint.contains(&DeviceId([*n; 32]).to_string())));
        assert_eq!(of(5, "dan").unwrap_err().exit, 3);
    }

    #[test]
    fn a_member_is_one_line_whatever_the_name_is() {
        assert_eq!(line(&member(1, "x\u{1b}]0;pwn\u{7}\ny\u{202e}")).lines().count(), 1);
        assert!(!line(&member(1, "x\u{1b}")).contains('\u{1b}'));
    }
}
