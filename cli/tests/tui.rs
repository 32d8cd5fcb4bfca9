//! The full screen in a real terminal: two people, two processes, each in a pty whose screen is
//! read as a person would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::{Home, PATIENCE};
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

/// A terminal in which the program runs.
struct Term {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    raw: Arc<Mutex<Vec<u8>>>,
}

impl Term {
    fn open(home: &Home, args: &[&str], columns: u16, rows: u16) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_klatch"));
        command.args(args);
        Self::run(home, command, size)
    }

    fn run(home: &Home, mut command: CommandBuilder, size: PtySize) -> Self {
        let (columns, rows) = (size.cols, size.rows);
        let pair = native_pty_system().openpty(size).unwrap();
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", home.path());
        command.env("TZ", "UTC");
        command.env("TERM", "xterm-256color");
        command.env("KLATCH_HOME", home.path());
        command.env("KLATCH_LOOPBACK_ONLY", "1");
        command.cwd(home.path());
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let mut out = pair.master.try_clone_reader().unwrap();
        let (parser, bytes) = (screen.clone(), raw.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut buffer) {
                parser.lock().unwrap_or_else(PoisonError::into_inner).process(&buffer[..n]);
                bytes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(&buffer[..n]);
            }
        });
        Self { keys: pair.master.take_writer().unwrap(), master: pair.master, child, screen, raw }
    }

    /// The full screen of a profile, in a room.
    fn chat(home: &Home, profile: &str, room: &str) -> Self {
        Self::open(
            home,
            &["--profile", profile, "--name", profile, "--no-input", "chat", room],
            120,
            30,
        )
    }

    /// Whether each key reaches the program at once, and nobody else writes it on the screen.
    fn is_raw(&self) -> bool {
        use rustix::termios::LocalModes;
        let line = std::fs::File::open(self.master.tty_name().unwrap()).unwrap();
        let modes = rustix::termios::tcgetattr(line).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// The window gets another size: columns, rows.
    fn resize(&self, (columns, rows): (u16, u16)) {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        self.master.resize(size).unwrap();
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw.lock().unwrap_or_else(PoisonError::into_inner))
            .into_owned()
    }

    /// Waits until the screen is as wanted.
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "never saw {what} on:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn see(&self, words: &str) -> String {
        self.until(words, |text| text.contains(words))
    }

    /// A row of the screen with all of these.
    fn see_row(&self, words: &[&str]) -> String {
        self.until(&words.join(" "), |text| {
            text.lines().any(|l| words.iter().all(|w| l.contains(w)))
        })
    }

    fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether everything that was switched on is off again, and the usual screen is shown.
    fn is_restored(&self) -> bool {
        let begun = Instant::now();
        // The last bytes may still be in the pty.
        while begun.elapsed() < Duration::from_secs(5) {
            let guard = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
            let screen = guard.screen();
            let off =
                !screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor();
            if off && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None {
                return true;
            }
            drop(guard);
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_key_is_drawn_before_the_next_one_is_typed_with_nobody_else_writing() {
    /// As fast as people type; nothing is measured finer than this, for busy machines.
    const BETWEEN: Duration = Duration::from_millis(150);
    let home = Home::new();
    let mut term = Term::chat(&home, "alice", "#garden");
    term.see("#garden> ");
    let keys = "abcdefghijklmnopqrstuvwx";
    let drawn = (1..=keys.len()).filter(|n| {
        term.press(&keys[n - 1..*n]);
        std::thread::sleep(BETWEEN);
        term.text().contains(&format!("#garden> {}", &keys[..*n]))
    });
    let (drawn, all) = (drawn.count(), keys.len());
    // A key that waits for the next timer of the program comes a second late, most of the time.
    assert!(drawn * 4 >= all * 3, "only {drawn} of {all} keys were drawn before the next one");
    term.see(&format!("#garden> {keys}"));
    term.press("\x03\x03");
    assert!(term.wait().success());
}

#[test]
fn two_people_talk_on_full_screens_and_see_where_their_messages_are() {
    let home = Home::new();
    let mut alice = Term::chat(&home, "alice", "#garden");
    let mut bob = Term::chat(&home, "bob", "#garden");
    alice.see("2/2 online");
    bob.see("2/2 online");
    alice.press("can we meet?\r");
    bob.see_row(&["alice", "can we meet?"]);
    alice.see_row(&["can we meet?", "✓✓ 1/1"]);
    // Bob answers that very message, on two lines.
    bob.press("\x1brat 10:00\x1b\rbring seeds\r");
    alice.see("↪ alice: can we meet?");
    alice.see_row(&["bob", "at 10:00"]);
    alice.see("bring seeds");
    // A reaction, completed from its name.
    alice.press("\x1bx");
    alice.see("/react");
    alice.press("seedl\t\r");
    bob.see("🌱");
    // He changes his words; she sees that he did.
    bob.press("\x1be");
    bob.see("changing your message");
    bob.press(" please\r");
    alice.see("please (edited)");
    // She looks it up.
    alice.press("\x06seeds");
    alice.see("1 found");
    alice.press("\r");
    alice.see("▸");
    alice.press("\x1b[F/quit\r");
    assert!(alice.wait().success());
    assert!(alice.is_restored());
    let log = home.ok(&["--profile", "bob", "log", "#garden"]);
    assert!(log.contains("can we meet?"), "{log}");
    bob.press("\x03");
    assert!(bob.wait().success() && bob.is_restored());
}

#[test]
fn a_direct_message_asks_first_and_then_is_a_conversation() {
    let home = Home::new();
    let mut alice = Term::chat(&home, "alice", "#garden");
    let mut bob = Term::chat(&home, "bob", "#garden");
    alice.see("2/2 online");
    bob.see("2/2 online");
    // From the switcher, by a few letters.
    alice.press("\x0b@bo");
    alice.see("write to them");
    alice.press("\r");
    alice.see("@bob> ");
    alice.press("psst, a surprise\r");
    alice.see_row(&["alice", "psst, a surprise"]);
    bob.see("REQUESTS 1");
    bob.see_row(&["@alice", "1"]);
    bob.press("\x1b2");
    bob.see("wants to write to you");
    bob.see("psst, a surprise");
    bob.press("\x1bOQ");
    bob.see("DIRECT");
    bob.until("no request any more", |text| !text.contains("REQUESTS"));
    bob.press("what is it?\r");
    alice.see_row(&["bob", "what is it?"]);
    bob.see_row(&["what is it?", "✓✓ 1/1"]);
    alice.press("/quit\r");
    bob.press("/quit\r");
    assert!(alice.wait().success() && bob.wait().success());
}

#[test]
fn a_program_is_told_about_mentions_and_no_text_is_ever_a_command() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let hook = home.path().join("hook.sh");
    std::fs::write(&hook, "#!/bin/sh\nprintf '%s|%s|%s|%s' \"$KLATCH_KIND\" \"$KLATCH_FROM\" \"$KLATCH_ROOM\" \"$KLATCH_TEXT\" > told.new\nmv told.new told\n").unwrap();
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o700)).unwrap();
    let args = [
        "--profile",
        "alice",
        "--name",
        "alice",
        "--no-input",
        "chat",
        "#garden",
        "--notify-command",
    ];
    let mut alice = Term::open(&home, &[&args[..], &[hook.to_str().unwrap()]].concat(), 100, 24);
    alice.see("#garden> ");
    let mut mallory = home.chat("mallory", "#garden", &[]);
    alice.see("2/2 online");
    // The terminal lost the keyboard: the user looks elsewhere.
    alice.press("\x1b[O");
    mallory.say("not about you");
    alice.see("not about you");
    let text = "alice $(touch pwned) `touch pwned`; touch pwned \u{1b}]52;c;aGk=\u{7}";
    mallory.say(text);
    let begun = Instant::now();
    while !home.path().join("told").exists() {
        assert!(begun.elapsed() < PATIENCE, "{}", alice.text());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(
        std::fs::read_to_string(home.path().join("told")).unwrap(),
        format!("mention|mallory|#garden|{text}")
    );
    assert!(!home.path().join("pwned").exists());
    alice.until("two unread", |text| text.contains("mallory") && text.contains("2 new"));
    assert!(
        alice.raw().contains("\u{1b}]9;klatch: mallory in #garden: alice $(touch"),
        "the terminal is told too"
    );
    assert!(!alice.raw().contains("\u{1b}]52;c;aGk"));
    alice.press("\x03");
    assert!(alice.wait().success());
    mallory.end();
}

#[test]
fn a_newcomer_is_asked_two_questions_and_told_what_to_do() {
    let home = Home::new();
    let mut term = Term::open(&home, &[], 100, 24);
    term.see("Your name for others");
    term.press("zoë\r");
    term.see("passphrase?");
    term.press("\r");
    term.see("You are zoë, and in no room yet");
    term.press("/join #lobby\r");
    term.see("#lobby> ");
    // A word that was meant as a command is not said.
    term.press("quit\r");
    term.see("was not sent");
    term.press("\x03");
    term.see("cleared");
    term.press("half a thought");
    term.see("> half a thought");
    // The draft is there when the program is opened again, in the same room.
    let pid = term.child.process_id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(term.wait().exit_code(), 130);
    assert!(term.is_restored());
    let mut again = Term::open(&home, &[], 100, 24);
    again.see("#lobby> half a thought");
    again.press("\x03/quit\r");
    assert!(again.wait().success());
}

#[test]
fn a_paste_of_a_megabyte_is_refused_and_nothing_typed_is_lost() {
    let home = Home::new();
    let mut term = Term::chat(&home, "alice", "#garden");
    term.see("#garden> ");
    term.press("typed ");
    term.see("> typed");
    let paste = format!("\x1b[200~{}\x1b[201~", "x".repeat(1 << 20));
    term.press(&paste);
    term.see("64000 bytes");
    term.press("and kept\r");
    term.see_row(&["alice", "typed and kept"]);
    term.press("/quit\r");
    assert!(term.wait().success());
}

#[test]
fn the_smallest_terminal_still_talks_and_sizes_change_without_harm() {
    let home = Home::new();
    let mut term = Term::chat(&home, "alice", "#garden");
    term.see("#garden> ");
    for size in [(20, 5), (1, 1), (300, 100), (20, 5)] {
        term.resize(size);
    }
    term.press("hi there\r");
    term.see("hi there");
    term.press("/quit\r");
    assert!(term.wait().success());
}

#[test]
fn a_key_that_comes_with_a_change_of_the_size_is_neither_late_nor_lost() {
    let home = Home::new();
    let mut term = Term::chat(&home, "alice", "#garden");
    term.see("#garden> ");
    // On a machine at rest the program is back at the terminal before the key is.
    let busy = Arc::new(());
    for _ in 0..4 {
        let until = Arc::downgrade(&busy);
        std::thread::spawn(move || while until.strong_count() > 0 {});
    }
    let mut typed = String::new();
    for (round, key) in ('a'..='z').cycle().take(40).enumerate() {
        term.resize(if round % 2 == 0 { (100, 25) } else { (120, 30) });
        term.press(&key.to_string());
        typed.push(key);
        // Nothing else is pressed before it is there: the next key would bring it along.
        term.see(&format!("> {typed}"));
    }
    drop(busy);
    term.press("\r");
    term.see_row(&["alice", &typed]);
    term.press("/quit\r");
    assert!(term.wait().success());
}

#[test]
fn a_screen_that_was_stopped_has_the_terminal_again_when_the_shell_continues_it() {
    let home = Home::new();
    let mut shell = CommandBuilder::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]);
    let size = PtySize { rows: 30, cols: 120, pixel_width: 0, pixel_height: 0 };
    let mut term = Term::run(&home, shell, size);
    let program = env!("CARGO_BIN_EXE_klatch");
    term.press(&format!("{program} --name alice --no-input chat '#garden'\n"));
    term.see("#garden> ");
    for round in 0..6 {
        assert!(term.is_raw(), "before round {round}");
        term.press("\u{1a}");
        term.until("the shell", |text| text.contains("Stopped") && !text.contains("#garden> "));
        // Of its own accord it does not come back: what the shell shows is left alone.
        // The words of this stop are not taken for those of the next one.
        term.press("printf '\\033[H\\033[2J'; echo sum $((40 + 2))\n");
        term.until("the sum", |text| text.contains("sum 42") && !text.contains("Stopped"));
        term.press("fg\n");
        term.see("#garden> ");
        let begun = Instant::now();
        while !term.is_raw() {
            assert!(begun.elapsed() < PATIENCE, "round {round}: keys go to the line editor");
            std::thread::sleep(Duration::from_millis(20));
        }
        // It was not for a moment only.
        term.press(&format!("{round}"));
        let typed: String = (0..=round).map(|n| n.to_string()).collect();
        term.see(&format!("#garden> {typed}"));
        assert!(term.is_raw(), "round {round}: the shell took it back");
    }
    // Nor does the shell keep it when somebody else stopped the program, who asked nobody.
    let status = home.ok(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-STOP", &status["pid"].to_string()]).status().unwrap().success());
    let begun = Instant::now();
    while term.is_raw() {
        assert!(begun.elapsed() < PATIENCE, "the shell does not see that it stopped");
        std::thread::sleep(Duration::from_millis(20));
    }
    term.press("fg\n");
    while !term.is_raw() {
        assert!(begun.elapsed() < PATIENCE, "keys go to the line editor");
        std::thread::sleep(Duration::from_millis(20));
    }
    term.press("x");
    term.see("#garden> 012345x");
    term.press("\x03/quit\r");
    term.see("You are offline now");
    term.press("exit\n");
    assert!(term.wait().success());
}

#[test]
fn a_passphrase_is_asked_for_again_after_a_slip_and_a_lock_from_elsewhere_hides_what_was_said() {
    let home = Home::new();
    let secret = home.path().join("secret");
    std::fs::write(&secret, "correct horse\n").unwrap();
    let file = secret.to_str().unwrap();
    home.ok(&["init", "--name", "alice", "--passphrase-file", file]);
    let mut term = Term::open(&home, &["chat", "#garden"], 100, 24);
    for slip in ["wrong\n", "horse\n"] {
        term.see("Passphrase: ");
        term.press(slip);
        term.see("that is not the passphrase: once more");
    }
    term.press("correct horse\n");
    term.see("#garden> ");
    term.press("a word among friends\r");
    term.see_row(&["alice", "a word among friends"]);
    term.press("/lock\r");
    assert!(term.wait().success() && term.is_restored());
    term.see("locked: `klatch unlock` opens this profile again");
    // Three tries, then it is enough.
    let mut term = Term::open(&home, &["chat", "#garden"], 100, 24);
    for n in 1..=3 {
        term.until("the question", |text| text.matches("Passphrase: ").count() == n);
        term.press("wrong\n");
    }
    assert_eq!(term.wait().exit_code(), 4, "{}", term.text());
    // Locked by another program.
    home.ok(&["unlock", "--unlock-file", file]);
    let mut term = Term::open(&home, &["chat", "#garden"], 100, 24);
    term.see_row(&["alice", "a word among friends"]);
    home.ok(&["lock"]);
    let text = term.see("Locked.");
    assert!(!text.contains("among friends"), "{text}");
    home.ok(&["unlock", "--unlock-file", file]);
    term.see_row(&["alice", "a word among friends"]);
    term.press("/quit\r");
    assert!(term.wait().success());
}

#[test]
fn what_others_write_does_not_act_on_the_terminal() {
    let home = Home::new();
    let mut mallory = home.chat("mallory", "#garden", &[]);
    let mut alice = Term::chat(&home, "alice", "#garden");
    alice.see("2/2 online");
    mallory.say("a\u{1b}[2J\u{1b}]52;c;aGk=\u{7}\u{1b}]0;pwned\u{7}\u{9b}31m\u{202e}evil\u{200b}z");
    mallory.say("the end");
    let text = alice.see_row(&["mallory", "the end"]);
    assert!(text.contains("␛]52;c;aGk="), "shown, not swallowed:\n{text}");
    let raw = alice.raw();
    for bad in
        ["\u{1b}[2J\u{1b}]52", "\u{1b}]52;c;aGk", "\u{1b}]0;", "\u{9b}", "\u{202e}", "\u{200b}"]
    {
        assert!(!raw.contains(bad), "{bad:?} reached the terminal");
    }
    alice.press("\x03");
    assert!(alice.wait().success());
    mallory.end();
}

#[test]
fn a_node_that_ends_and_comes_back_is_told_and_nothing_is_lost() {
    let home = Home::new();
    home.ok(&["--profile", "alice", "--name", "alice", "up"]);
    let mut term = Term::chat(&home, "alice", "#garden");
    term.see("#garden> ");
    home.ok(&["--profile", "alice", "down"]);
    term.see("NO NODE");
    term.press("while it is away\r");
    term.see("not sent");
    home.ok(&["--profile", "alice", "up"]);
    term.until("the node again", |text| !text.contains("NO NODE"));
    // What could not be sent is still there to be sent.
    term.press("\r");
    term.see_row(&["alice", "while it is away", "queued"]);
    term.press("/quit\r");
    assert!(term.wait().success());
}

#[test]
fn a_text_under_way_when_the_node_is_killed_is_said_once_when_it_is_back() {
    let home = Home::new();
    home.ok(&["--profile", "alice", "--name", "alice", "up"]);
    let mut term = Term::chat(&home, "alice", "#garden");
    term.see("#garden> ");
    term.press("before\r");
    term.see_row(&["alice", "before"]);
    let status = home.ok(&["--profile", "alice", "status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let signal = |name: &str| {
        let pid = status["pid"].to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    // It takes the text, and never answers.
    signal("-STOP");
    term.press("under way");
    term.see("> under way");
    term.press("\r");
    term.until("an empty composer", |text| !text.contains("under way"));
    signal("-KILL");
    term.see("a message waits for it");
    home.ok(&["--profile", "alice", "up"]);
    term.see_row(&["alice", "under way", "queued"]);
    let log = home.ok(&["--profile", "alice", "log", "#garden"]);
    assert_eq!(log.matches("under way").count(), 1, "{log}");
    term.press("/quit\r");
    assert!(term.wait().success());
}

#[test]
fn a_room_with_a_passphrase_is_opened_out_of_sight_and_a_slip_in_it_is_seen() {
    let home = Home::new();
    let open = |profile: &str, command: &str, passphrase: &str| {
        let args = ["--profile", profile, "--name", profile, "--no-input"];
        let mut term = Term::open(&home, &args, 120, 30);
        term.see("in no room yet");
        term.press(&format!("{command}\r"));
        term.see("Passphrase of #study");
        term.see("a new one (Tab takes it)");
        term.press(passphrase);
        term.see(&format!("> {}", "•".repeat(passphrase.len())));
        term.press("\r");
        term.see("you are in #study (passphrase)");
        assert!(!term.raw().contains(passphrase), "it was drawn");
        term
    };
    let words = |term: &Term| {
        let text = term.see("its words: ");
        let (_, words) = text.split_once("its words: ").unwrap();
        words.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
    };
    let mut alice = open("alice", "/private #study", "open sesame");
    alice.see("If others are, compare the room's words");
    let mut bob = open("bob", "/join #study --passphrase", "open sesame");
    alice.see("2/2 online");
    bob.see("2/2 online");
    let mut carol = open("carol", "/private #study", "open sesami");
    carol.see("Nobody else is in #study yet");
    assert_eq!(words(&alice), words(&bob));
    assert_ne!(words(&alice), words(&carol));
    let rooms = home.ok(&["--profile", "bob", "rooms"]);
    assert!(rooms.contains(&format!("words: {}", words(&alice))), "{rooms}");
    for term in [&mut alice, &mut bob, &mut carol] {
        term.press("/quit\r");
    }
    assert!(alice.wait().success() && bob.wait().success() && carol.wait().success());
}

#[test]
fn leaving_says_once_that_one_is_offline_now_and_nothing_of_the_beginning() {
    let home = Home::new();
    let mut term = Term::chat(&home, "alice", "#garden");
    term.see("#garden> ");
    term.press("/quit\r");
    assert!(term.wait().success() && term.is_restored());
    let text = term.see("You are offline now. `klatch --profile alice up` keeps you reachable.");
    assert!(!text.contains("no node was running") && !text.contains("from now on"), "{text}");
    // With a node in the background nobody goes offline.
    home.ok(&["--profile", "alice", "up"]);
    let mut term = Term::chat(&home, "alice", "#garden");
    term.see("#garden> ");
    term.press("\x03");
    assert!(term.wait().success() && term.is_restored());
    assert!(!term.text().contains("offline"), "{}", term.text());
}

#[test]
fn a_passphrase_in_plain_mode_is_asked_for_and_not_shown() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    let args = ["chat", "#lobby", "--plain"];
    let mut term = Term::open(&home, &args, 120, 30);
    term.see("/help");
    term.press("/join #study --passphrase\n");
    term.see("passphrase of #study, which is not shown:");
    term.press("correct horse\n");
    let text = term.see("you are in #study now; whoever has the same passphrase sees the words:");
    assert!(!text.contains("horse"), "{text}");
    // What is typed afterwards is shown again, and goes there.
    term.press("can you see me\n");
    term.see("#study you: can you see me");
    term.press("/join #other --passphrase\n");
    term.see("passphrase of #other");
    term.press("\n");
    term.see("* not joined");
    term.press("/rooms\n");
    term.see_row(&["#study", "passphrase", "words:"]);
    term.press("/quit\n");
    assert!(term.wait().success());
    assert!(!term.raw().contains("horse"), "not even for a moment");
}

#[test]
fn what_was_pasted_behind_a_refused_change_of_room_is_not_sent() {
    let home = Home::new();
    let name = ["--profile", "alice", "--name", "alice", "--no-input"];
    let args = [&name[..], &["chat", "#lobby", "--plain"]].concat();
    let mut term = Term::open(&home, &args, 100, 30);
    term.see("nobody else is here now");
    term.press("/join ##\nthe secret\nand more of it\n");
    term.see("you are still in #lobby: what you type goes there");
    term.see("typed ahead is not sent");
    // Whoever has read that means it.
    std::thread::sleep(Duration::from_secs(1));
    term.press("good evening\n");
    term.see("#lobby you: good evening");
    term.press("/quit\n");
    let log = home.ok(&["--profile", "alice", "log", "#lobby"]);
    assert!(log.contains("good evening") && !log.contains("secret"), "{log}");
    assert!(!log.contains("and more"), "{log}");
}
