//! The emulated modem as a program: makes the ports that its options describe, and runs until a signal.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use qssl_modem_emulator::Config;
use qssl_modem_emulator::cli::{Command, Ctl, Options, Program};
use qssl_modem_emulator::driver::{Driver, Player, ask};

fn main() -> ExitCode {
    let Program { options, command } = Program::parse();
    if let Some(Command::Ctl(Ctl { control, action })) = command {
        return match ask(&control, &action) {
            Ok(text) if text.is_empty() => ExitCode::SUCCESS,
            Ok(text) => {
                print(format_args!("{text}\n"));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("qssl-modem-emulator ctl: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let level = match options.verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new().filter_level(level).parse_default_env().init();
    if let Some(list) = options.quirk_list() {
        print(format_args!("{list}"));
        return ExitCode::SUCCESS;
    }
    if options.show {
        return match options.read_module(&mut Config::default()) {
            Ok(module) => {
                print(format_args!("{module}"));
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        };
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("qssl-modem-emulator: {error:#}");
    ExitCode::FAILURE
}

fn run(options: &Options) -> anyhow::Result<()> {
    if !options.replay.is_empty() {
        let mut player = Player::new(options, &options.replay)?;
        player.heed_signals()?;
        for path in player.paths() {
            print(format_args!("{}\n", path.display()));
        }
        return player.run();
    }
    let mut driver = Driver::new(options, 0)?;
    driver.heed_signals()?;
    // A program that starts this one waits for these lines.
    for location in driver.locations() {
        print(format_args!("{location}\n"));
    }
    driver.run()?;
    let _ = writeln!(std::io::stderr(), "{}", driver.report());
    Ok(())
}

/// On standard output, at once. Who reads it may have read enough.
fn print(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}
