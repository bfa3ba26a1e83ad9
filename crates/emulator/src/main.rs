//! The emulated modem as a program: makes the ports that its options describe, and runs until a signal.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use qssl_modem_emulator::cli::Options;
use qssl_modem_emulator::driver::{Driver, Player};

fn main() -> ExitCode {
    let options = Options::parse();
    let level = match options.verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new().filter_level(level).parse_default_env().init();
    if let Some(list) = options.quirk_list() {
        print!("{list}");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qssl-modem-emulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    if !options.replay.is_empty() {
        let mut player = Player::new(options, &options.replay)?;
        for path in player.paths() {
            println!("{}", path.display());
        }
        std::io::stdout().flush()?;
        return player.run();
    }
    let mut driver = Driver::new(options, 0)?;
    driver.heed_signals()?;
    for location in driver.locations() {
        println!("{location}");
    }
    // A program that starts this one waits for these lines.
    std::io::stdout().flush()?;
    driver.run()?;
    eprintln!("{}", driver.report());
    Ok(())
}
