//! `klatch members` and `klatch room mute`, and finding a member by what the user typed.

use klatch_core::query::Member;
use serde_json::json;

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
        format!("{} is {word} in {}, only on your side", visible(&member.name), visible(room))
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
    let name = marked(visible(&member.name), member.name_mark.as_deref());
    format!("{name}\t{}\t{}", visible(&member.fingerprint), words.join(", "))
}

/// The one member of that name, fingerprint or device id. Names are claims, so an ambiguous one is
/// refused.
pub async fn find(session: &mut Session, room: &str, who: &str) -> Result<Member, Report> {
    let members: Vec<Member> = session.ask("room.members", json!({"room": room})).await?;
    pick(members, who)
}

fn pick(members: Vec<Member>, who: &str) -> Result<Member, Report> {
    let wanted = who.trim_start_matches('@');
    let matches = |m: &Member| {
        m.name == wanted
            || m.fingerprint.eq_ignore_ascii_case(wanted)
            || m.device.to_string() == wanted.to_lowercase()
    };
    let mut found: Vec<Member> = members.into_iter().filter(matches).collect();
    match (found.len(), found.pop()) {
        (1, Some(member)) => Ok(member),
        (0, _) => Err(Report::new(
            "KLATCH-MEMBER-NOT-FOUND",
            format!("there is no {} in that room", visible(who)),
            "`klatch members ROOM` lists them",
            exit::NOT_FOUND,
        )),
        (_, last) => {
            let all = found
                .iter()
                .chain(&last)
                .map(|m| format!("{} (device {})", m.fingerprint, m.device));
            let hint =
                format!("use a fingerprint or device id: {}", all.collect::<Vec<_>>().join(", "));
            let cause = format!("several members are called {}", visible(who));
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
            identity: None,
            name: name.to_owned(),
            fingerprint: format!("AAAA-{n}"),
            name_mark: None,
            online: false,
            own: false,
            last_seen_ms: 0,
            muted: false,
            forked: false,
        }
    }

    #[test]
    fn an_ambiguous_name_is_refused_with_fingerprints() {
        let members = || vec![member(1, "bob"), member(2, "bob"), member(3, "carol")];
        assert_eq!(pick(members(), "@carol").unwrap().device, DeviceId([3; 32]));
        let error = pick(members(), "bob").unwrap_err();
        assert!(
            error.code == "KLATCH-AMBIGUOUS"
                && error.hint.contains("AAAA-1")
                && error.hint.contains("AAAA-2")
        );
        assert_eq!(pick(members(), "aaaa-2").unwrap().device, DeviceId([2; 32]));
        assert_eq!(pick(members(), "dan").unwrap_err().exit, 3);
    }

    #[test]
    fn a_member_is_one_line_whatever_the_name_is() {
        assert_eq!(line(&member(1, "x\u{1b}]0;pwn\u{7}\ny\u{202e}")).lines().count(), 1);
        assert!(!line(&member(1, "x\u{1b}")).contains('\u{1b}'));
    }
}
