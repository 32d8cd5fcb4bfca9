//! `klatch`: group chat without a server. Parses, dispatches, ends with a documented exit code.
//!
//! This crate owns words and screens. It knows the core's commands, queries and events, the node's
//! handle and its API; nothing here speaks to the network or to a database.

mod act;
mod args;
mod client;
mod command;
mod context;
mod error;
mod hints;
mod lines;
mod links;
mod logging;
mod misuse;
mod older;
mod output;
mod paths;
mod plain;
mod reach;
mod service;
mod session;
mod signals;
mod slash;
mod tui;
mod when;
mod words;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;

use crate::args::{Cli, Command};
use crate::context::Context;
use crate::error::Report;
use crate::output::{Color, Output};

/// What may still run when everything is done: a thread that reads stdin, a socket that closes.
const LAST_MOMENT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let cli = match args::parse(std::env::args_os()).and_then(full_screen) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let Some(command) = cli.command else {
        let help = args::tree().render_help().to_string();
        let done = Output::new(false, false, cli.global.color).line(help.trim_end());
        return done.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    };
    keep_memory_private();
    hints::are_for(&cli.global.profile);
    let file = command::is_detached(&command).then(|| paths::Paths::new(&cli.global.profile));
    let file = file.and_then(Result::ok).map(|paths| paths.log);
    // What matters is said in words to whoever asks once; a node's own remarks are for its log.
    let quiet = cli.global.quiet || !command::shows_log(&command);
    logging::start(cli.global.verbose, quiet, file);
    let out = Output::new(cli.global.json, cli.global.quiet, cli.global.color);
    let done = match Context::new(cli.global) {
        Ok(context) => run(context, command),
        Err(report) => Err(report),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => {
            out.error(&report);
            ExitCode::from(report.exit)
        }
    }
}

/// Without a command the chat opens: on the full screen, or in plain lines where the terminal can do
/// no more. Where there is no terminal, the help is printed.
fn full_screen(cli: Cli) -> Result<Cli, clap::Error> {
    if cli.command.is_some() || cli.global.json || !command::has_typist() {
        return Ok(cli);
    }
    args::parse(std::env::args_os().chain(["chat".into()]))
}

/// No core file and no debugger of the same user: keys are in memory. Debug builds may be debugged.
fn keep_memory_private() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if cfg!(debug_assertions) {
        return;
    }
    // If the system refuses, nothing is lost but the extra care.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Runs one command to its end, and ends the node it may have started.
fn run(context: Context, command: Command) -> Result<(), Report> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| {
            Report::new(
                "KLATCH-SYSTEM",
                format!("cannot start: {e}"),
                "close some programs",
                error::exit::FAILED,
            )
        })?;
    let done = runtime.block_on(async {
        let (own_signals, goes_on) = (command::handles_signals(&command), command::goes_on(&command));
        let context = Arc::new(context);
        let shared = context.clone();
        // A task of its own: a question to the user blocks its thread, and Ctrl+C must still be
        // heard.
        let mut work = tokio::spawn(async move {
            command::run(&shared, command).await?;
            shared.finish(false).await;
            Ok(())
        });
        let done = tokio::select! {
            done = &mut work => done.unwrap_or_else(|e| Err(Report::bug(&e))),
            () = context.asked_to_stop(), if !own_signals => Err(Report::stopped()),
            () = signals::interrupted(), if !own_signals => Err(if goes_on { Report::ended() } else { Report::interrupted() }),
        };
        if !work.is_finished() {
            work.abort();
            // Its connection closes with it; a question to the user does not end, but the process
            // will.
            let _ = tokio::time::timeout(LAST_MOMENT, work).await;
        }
        tokio::select! {
            () = context.abandon() => {}
            () = signals::interrupted() => {}
        }
        done
    });
    runtime.shutdown_timeout(LAST_MOMENT);
    done
}

/// A noun without a verb, for programs; people get its help.
fn unfinished(command: &clap::Command) -> Report {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let verbs = command.get_subcommands().filter(|c| !c.is_hide_set());
    let verbs = verbs.map(clap::Command::get_name).collect::<Vec<_>>().join(", ");
    let help = name.replacen("klatch", "klatch help", 1);
    let noun = name.trim_start_matches("klatch ");
    Report::usage(format!("`{noun}` needs one more word: {verbs}"), format!("`{help}`"))
}

/// Help and version are no errors; everything else has our form and exit code.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let json = words.iter().any(|word| word == "--json" || word.starts_with("--json="));
    let needs = [ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::MissingSubcommand];
    if needs.contains(&error.kind()) {
        let out = Output::new(json, false, Color::Never);
        let mut command = args::named(std::env::args_os().skip(1));
        if json {
            out.error(&unfinished(&command));
        } else {
            out.stderr(command.render_help().to_string().trim_end());
        }
        return ExitCode::from(error::exit::USAGE);
    }
    let (report, profile) = misuse::report(error, &words);
    if let Some(profile) = profile.or_else(|| std::env::var("KLATCH_PROFILE").ok()) {
        hints::are_for(&profile);
    }
    Output::new(json, false, Color::Never).error(&report);
    ExitCode::from(error::exit::USAGE)
}
