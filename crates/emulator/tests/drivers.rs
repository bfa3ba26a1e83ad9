//! Goal of this test: drivers that were written against modules run against the emulator as they are: what they
//! say, byte for byte, gets what a module answers.
//!
//! Each dialogue follows the habits of some driver in the field. Under `--strict` the emulator refuses what the
//! manuals do not have; under `--field` it is as lenient as modules are.

use std::time::{Duration, Instant};

use qssl_modem_emulator::Modem;
use qssl_modem_emulator::cli::Options;
use qssl_modem_emulator::network::Network;
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Ends, Opening, Plan, Says, Simulated};

/// A driver, the modem at the other end of its line, and a server that echoes.
struct Driver {
    modem: Modem,
    network: Simulated,
    now: Instant,
}

impl Driver {
    /// At a modem that has just come up, of these command-line options.
    fn new(options: &str) -> Driver {
        Driver::facing(Behaviour::echo(), options)
    }

    fn facing(server: Behaviour, options: &str) -> Driver {
        let options = Options::parse_text(options).expect("the options are right");
        let config = options.config(1, 0).expect("the options are right");
        #[allow(clippy::disallowed_methods, reason = "the beginning of simulated time")]
        let now = Instant::now();
        let plan = Plan::new(server).opening(Opening::Opens(Duration::from_millis(100)));
        Driver { modem: Modem::new(config, now), network: Simulated::new(now, plan), now }
    }

    /// The same with echo off, a data session, and one open socket in this mode.
    fn connected(options: &str, mode: u8) -> Driver {
        let mut driver = Driver::new(options);
        driver.run(&[("ATE0\r", "ATE0\r\r\nOK\r\n"), ("AT+QIACT=1\r", OK)]);
        let open = format!("AT+QSSLOPEN=1,1,0,\"a.example\",443,{mode}\r");
        driver.run(&[(&open, OK)]);
        let opened = driver.after(Duration::from_millis(100));
        assert!(opened.ends_with("+QSSLOPEN: 0,0\r\n"), "{opened:?}");
        driver
    }

    /// Says something and returns what comes back at once.
    fn say(&mut self, bytes: &str) -> String {
        self.modem.received(0, bytes.as_bytes(), self.now, &mut self.network);
        self.after(Duration::ZERO)
    }

    /// What has come when so much time has passed.
    fn after(&mut self, time: Duration) -> String {
        let end = self.now + time;
        let mut received = Vec::new();
        loop {
            let output = self.modem.output(0).to_vec();
            if !output.is_empty() {
                self.modem.written(0, output.len(), self.now);
                received.extend_from_slice(&output);
            }
            let due = self.modem.next_deadline().into_iter().chain(self.network.next_deadline()).min();
            match due.filter(|due| *due <= end) {
                Some(due) => {
                    self.now = self.now.max(due);
                    self.network.advance(self.now);
                    self.modem.deadline_passed(self.now, &mut self.network);
                }
                None if output.is_empty() => break,
                None => {}
            }
        }
        self.now = end;
        String::from_utf8(received).expect("this server sends text")
    }

    /// Says something and waits for a text, as a driver does that looks for words. What came with it.
    #[track_caller]
    fn ask(&mut self, bytes: &str, wanted: &str) -> String {
        let heard = self.say(bytes);
        self.wait_for(heard, wanted)
    }

    #[track_caller]
    fn wait_for(&mut self, mut heard: String, wanted: &str) -> String {
        for _ in 0..PATIENCE_MILLISECONDS {
            if heard.contains(wanted) {
                return heard;
            }
            heard += &self.after(Duration::from_millis(1));
        }
        panic!("{wanted:?} never came, but {heard:?}");
    }

    /// The same one byte at a time, and the LF some time after the CR.
    #[track_caller]
    fn ask_slowly(&mut self, line: &str, wanted: &str) -> String {
        let mut heard = String::new();
        for byte in line.chars() {
            heard += &self.say(&byte.to_string());
            heard += &self.after(Duration::from_micros(87));
        }
        heard += &self.say("\r");
        heard += &self.after(LINE_FEED_LATER);
        heard += &self.say("\n");
        self.wait_for(heard, wanted)
    }

    /// What is sent, and exactly what is answered.
    #[track_caller]
    fn run(&mut self, dialogue: &[(&str, &str)]) {
        for (said, answer) in dialogue {
            assert_eq!(self.say(said), *answer, "{said:?}");
        }
    }
}

/// How long a driver waits for a text.
const PATIENCE_MILLISECONDS: u32 = 20_000;
/// How late the LF of a driver comes that writes one byte at a time.
const LINE_FEED_LATER: Duration = Duration::from_millis(4);

const OK: &str = "\r\nOK\r\n";
const ERROR: &str = "\r\nERROR\r\n";

#[test]
fn a_driver_that_starts_from_the_factory_settings_and_asks_for_everything() {
    for options in ["--strict", "--field", "--family ec20", "--family ec20 --field"] {
        let mut driver = Driver::new(options);
        // Its lines end with CR LF, and the echo has the CR alone.
        driver.run(&[
            ("AT\r\n", "AT\r\r\nOK\r\n"),
            ("AT&F\r\n", "AT&F\r\r\nOK\r\n"),
            ("ATE0\r\n", "ATE0\r\r\nOK\r\n"),
            ("AT+CMEE=2\r\n", OK),
            ("AT+CTZU=1\r\n", OK),
            ("AT+CTZR=1\r\n", OK),
            ("AT+GSN\r\n", "\r\n490154203237518\r\n\r\nOK\r\n"),
            ("AT+CIMI\r\n", "\r\n001010123456789\r\n\r\nOK\r\n"),
            ("AT+QCCID\r\n", "\r\n+QCCID: 89860000000000000007\r\n\r\nOK\r\n"),
            ("AT+CPIN?\r\n", "\r\n+CPIN: READY\r\n\r\nOK\r\n"),
            ("AT+QSIMSTAT?\r\n", "\r\n+QSIMSTAT: 0,1\r\n\r\nOK\r\n"),
            ("AT+QSIMSTAT=1\r\n", OK),
            ("AT+QSIMSTAT?\r\n", "\r\n+QSIMSTAT: 1,1\r\n\r\nOK\r\n"),
            ("AT+QCFG=\"nwscanmode\",3,1\r\n", OK),
            ("AT+QCFG=\"nwscanmode\"\r\n", "\r\n+QCFG: \"nwscanmode\",3,1\r\n\r\nOK\r\n"),
            ("AT+QCFG=\"nwscanseq\",00,1\r\n", OK),
            ("AT+COPS=0\r\n", OK),
            ("AT+COPS=3,0\r\n", OK),
            ("AT+COPS?\r\n", "\r\n+COPS: 0,0,\"Emulated\",7\r\n\r\nOK\r\n"),
            ("AT+QNWINFO\r\n", "\r\n+QNWINFO: \"FDD LTE\",\"00101\",\"LTE BAND 3\",1650\r\n\r\nOK\r\n"),
            ("AT+CEREG=2\r\n", OK),
            ("AT+CEREG?\r\n", "\r\n+CEREG: 2,1,\"1F2A\",\"A3B4C01\",7\r\n\r\nOK\r\n"),
            ("AT+CSQ\r\n", "\r\n+CSQ: 28,99\r\n\r\nOK\r\n"),
            ("AT+CGATT=1\r\n", OK),
            ("AT+CGATT?\r\n", "\r\n+CGATT: 1\r\n\r\nOK\r\n"),
            // Before it activates a context it makes sure that it is not active.
            ("AT+QIDEACT=1\r\n", OK),
            ("AT+QICSGP=1,1,\"internet\",\"\",\"\",0\r\n", OK),
            ("AT+QIACT=1\r\n", OK),
            ("AT+QIACT?\r\n", "\r\n+QIACT: 1,1,1,\"10.7.157.1\"\r\n\r\nOK\r\n"),
            ("AT+CGPADDR=1\r\n", "\r\n+CGPADDR: 1,\"10.7.157.1\"\r\n\r\nOK\r\n"),
            ("AT+CGPADDR\r\n", "\r\n+CGPADDR: 1,\"10.7.157.1\"\r\n\r\nOK\r\n"),
        ]);
    }
}

#[test]
fn commands_joined_by_semicolon_and_plus_answer_one_after_the_other() {
    let mut driver = Driver::new("");
    driver.run(&[
        ("ATE0;+CMEE=2\r", "ATE0;+CMEE=2\r\r\nOK\r\n"),
        ("AT+CSQ;+CGMM;+QSIMSTAT?\r", "\r\n+CSQ: 28,99\r\n\r\nEG800Q\r\n\r\n+QSIMSTAT: 0,1\r\n\r\nOK\r\n"),
        ("AT+CTZU=1;+CTZR=1;+COPS=0;+CGATT=1\r", OK),
        // What follows the first error is not carried out.
        ("AT+CTZU=3;+NONSENSE;+CTZR=0\r", "\r\nERROR\r\n"),
        ("AT+CTZU?;+CTZR?\r", "\r\n+CTZU: 3\r\n\r\n+CTZR: 1\r\n\r\nOK\r\n"),
    ]);
}

#[test]
fn a_line_feed_that_comes_after_the_command_has_begun() {
    // Between commands it means nothing, however late it comes.
    for options in ["--strict", "--field"] {
        let mut driver = Driver::new(options);
        driver.run(&[("ATE0\r", "ATE0\r\r\nOK\r\n"), ("\n", ""), ("AT+CGATT=1\r", OK), ("\n", "")]);
        driver.run(&[("AT\r", OK)]);
    }
    // Before a prompt that takes its time it is dropped with everything else that comes too soon.
    let mut driver = Driver::connected("--prompt-latency 10ms", 0);
    driver.run(&[("AT+QSSLSEND=0,5\r", ""), ("\n", "")]);
    assert_eq!(driver.after(Duration::from_millis(10)), "\r\n> ");
    driver.run(&[("hello", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n")]);
    assert_eq!(driver.network.records()[0].received, b"hello");
    // At a prompt that is quicker it is payload: the driver's last byte is left over, and spoils its next line.
    let mut driver = Driver::connected("--strict", 0);
    driver
        .run(&[("AT+QSSLSEND=0,5\r", "\r\n> "), ("\nhello", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n")]);
    assert_eq!(driver.network.records()[0].received, b"\nhell");
    // Some modules know that it belongs to the CR, where it comes at once with it.
    let mut driver = Driver::connected("--field", 0);
    driver
        .run(&[("AT+QSSLSEND=0,5\r\n", "\r\n> "), ("hello", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n")]);
    assert_eq!(driver.network.records()[0].received, b"hello");
}

#[test]
fn an_open_without_a_mode_is_in_buffer_mode() {
    for options in ["--strict", "--field", "--family ec20"] {
        let mut driver = Driver::new(options);
        driver.run(&[("ATE0;+QIACT=1\r", "ATE0;+QIACT=1\r\r\nOK\r\n")]);
        driver.run(&[("AT+QSSLOPEN=1,1,4,\"a.example\",443\r", OK)]);
        assert_eq!(driver.after(Duration::from_millis(100)), "\r\n+QSSLOPEN: 4,0\r\n");
        driver.run(&[
            ("AT+QSSLSEND=4,5\r", "\r\n> "),
            ("hello", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",4\r\n"),
            ("AT+QSSLRECV=4,1500\r", "\r\n+QSSLRECV: 5\r\nhello\r\n\r\nOK\r\n"),
            ("AT+QSSLCLOSE=4\r", OK),
        ]);
    }
}

#[test]
fn the_state_of_one_socket_in_the_form_of_the_tcp_command() {
    let line = "\r\n+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.2\",443,0,2,1,0,0,\"uart1\",1\r\n\r\nOK\r\n";
    let mut driver = Driver::connected("--field", 0);
    driver.run(&[("AT+QSSLSTATE=1,0\r", line), ("AT+QSSLSTATE=0\r", line), ("AT+QSSLSTATE=1,5\r", OK)]);
    let mut driver = Driver::connected("--strict", 0);
    driver.run(&[("AT+QSSLSTATE=1,0\r", ERROR)]);
}

#[test]
fn unread_counts_and_reads_of_more_than_1500_bytes() {
    let mut driver = Driver::connected("--field", 0);
    let payload = "x".repeat(1_460);
    for _ in 0..2 {
        driver.say("AT+QSSLSEND=0,1460\r");
        driver.say(&payload);
    }
    driver.run(&[("AT+QSSLRECV=0,0\r", "\r\n+QSSLRECV: 2920,0,2920\r\n\r\nOK\r\n")]);
    let read = driver.say("AT+QSSLRECV=0,4096\r");
    assert!(read.starts_with("\r\n+QSSLRECV: 1500\r\nxxx") && read.ends_with("x\r\n\r\nOK\r\n"));
    driver.run(&[("AT+QSSLRECV=0,0\r", "\r\n+QSSLRECV: 2920,1500,1420\r\n\r\nOK\r\n")]);
    let mut driver = Driver::connected("--strict", 0);
    driver.run(&[("AT+QSSLRECV=0,0\r", ERROR), ("AT+QSSLRECV=0,1501\r", ERROR)]);
}

#[test]
fn cipher_codes_and_other_numbers_in_quotes() {
    let mut driver = Driver::new("--field");
    driver.run(&[
        ("ATE0\r", "ATE0\r\r\nOK\r\n"),
        ("AT+QSSLCFG=\"ciphersuite\",1,\"0XFFFF\"\r", OK),
        ("AT+QSSLCFG=\"ciphersuite\",1,\"0X0035\"\r", OK),
        ("AT+QSSLCFG=\"ciphersuite\",1\r", "\r\n+QSSLCFG: \"ciphersuite\",1,0X0035\r\n\r\nOK\r\n"),
        ("AT+QSSLCFG=\"sslversion\",\"1\",\"3\"\r", OK),
        ("AT+QSSLCFG=\"sslversion\",1\r", "\r\n+QSSLCFG: \"sslversion\",1,3\r\n\r\nOK\r\n"),
    ]);
    let mut driver = Driver::new("--strict");
    driver.run(&[
        ("ATE0\r", "ATE0\r\r\nOK\r\n"),
        ("AT+QSSLCFG=\"ciphersuite\",1,\"0X0035\"\r", ERROR),
        ("AT+QSSLCFG=\"ciphersuite\",1,0X0035\r", OK),
    ]);
}

#[test]
fn what_a_driver_sets_about_the_form_of_payload_takes_effect() {
    // viewmode: what is pushed or read is on one line with its header.
    let mut driver = Driver::connected("", 1);
    driver.run(&[
        ("AT+QICFG=\"viewmode\",1\r", OK),
        ("AT+QSSLSEND=0,2\r", "\r\n> "),
        ("Hi", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0,2,Hi\r\n"),
        // dataformat: hexadecimal both ways.
        ("AT+QICFG=\"dataformat\",1,1\r", OK),
        ("AT+QSSLSEND=0,4\r", "\r\n> "),
        ("4869", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0,2,4869\r\n"),
        ("AT+QICFG=\"viewmode\",0;+QICFG=\"dataformat\",0,1\r", OK),
        ("AT+QSSLSEND=0,2\r", "\r\n> "),
        ("Hi", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0,2\r\n4869"),
        // sendinfo: how much was sent, in place of SEND OK.
        ("AT+QICFG=\"dataformat\",0,0;+QICFG=\"sendinfo\",1\r", OK),
        ("AT+QSSLSEND=0,2\r", "\r\n> "),
        ("Hi", "\r\nOK\r\n\r\n+QISEND: 0,0,2\r\n\r\n+QSSLURC: \"recv\",0,2\r\nHi"),
        // close/mode: OK at once, and the end of the closing unasked.
        ("AT+QICFG=\"close/mode\",1\r", OK),
        ("AT+QSSLCLOSE=0\r", "\r\nOK\r\n\r\n+QSSLCLOSE: 0,0\r\n"),
    ]);
    assert_eq!(driver.network.records()[0].received, b"HiHiHiHi");
    let mut driver = Driver::connected("", 0);
    driver.run(&[
        ("AT+QICFG=\"viewmode\",1\r", OK),
        ("AT+QICFG=\"viewmode\"\r", "\r\n+QICFG: \"viewmode\",1\r\n\r\nOK\r\n"),
        ("AT+QSSLSEND=0,2\r", "\r\n> "),
        ("Hi", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n"),
        ("AT+QSSLRECV=0,1500\r", "\r\n+QSSLRECV: 2,Hi\r\n\r\nOK\r\n"),
    ]);
}

#[test]
fn payload_that_is_written_one_byte_at_a_time() {
    let mut driver = Driver::connected("--send-latency 16ms", 0);
    driver.run(&[("AT+QSSLSEND=0,300\r", "\r\n> ")]);
    let payload: String = ('a'..='z').cycle().take(300).collect();
    for byte in payload.chars() {
        driver.run(&[(&byte.to_string(), "")]);
        driver.after(Duration::from_micros(87));
    }
    assert_eq!(driver.after(Duration::from_millis(20)), "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n");
    assert_eq!(driver.network.records()[0].received, payload.as_bytes());
}

#[test]
fn a_driver_that_looks_for_its_module_by_name() {
    let mut options = Options::parse_text("").expect("none");
    options.identity = Some("BG96 BG96MAR02A07M1G".into());
    let config = options.config(1, 0).expect("the options are right");
    let mut driver = Driver::new("");
    driver.modem = Modem::new(config, driver.now);
    driver.run(&[
        ("ATE0\r", "ATE0\r\r\nOK\r\n"),
        ("ATI\r", "\r\nQuectel\r\nBG96\r\nRevision: BG96MAR02A07M1G\r\n\r\nOK\r\n"),
        ("AT+CGMM\r", "\r\nBG96\r\n\r\nOK\r\n"),
        ("AT+CGMR\r", "\r\nBG96MAR02A07M1G\r\n\r\nOK\r\n"),
        ("AT+CGMI\r", "\r\nQuectel\r\n\r\nOK\r\n"),
        ("AT+QGMR\r", "\r\nBG96MAR02A07M1G\r\n\r\nOK\r\n"),
    ]);
    let mut driver = Driver::new("--identity EC25");
    driver.run(&[("AT+CGMM\r", "AT+CGMM\r\r\nEC25\r\n\r\nOK\r\n")]);
}

#[test]
fn the_prompt_in_every_shape_and_what_comes_before_it() {
    for (quirks, prompt) in [
        ("", "\r\n> "),
        ("--quirk prompt-without-space", "\r\n>"),
        ("--quirk prompt-with-line-end", "\r\n> \r\n"),
        ("--quirk prompt-without-space --quirk prompt-with-line-end", "\r\n>\r\n"),
    ] {
        let mut driver = Driver::connected(quirks, 0);
        driver.run(&[("AT+QSSLSEND=0,2\r", prompt), ("Hi", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n")]);
    }
    // A driver that does not wait: what it sends is dropped, and the modem waits for all of it.
    let mut driver = Driver::connected("--prompt-latency 8ms", 0);
    driver.run(&[("AT+QSSLSEND=0,2\rHi", "")]);
    assert_eq!(driver.after(Duration::from_secs(60)), "\r\n> ");
    driver.run(&[("AT", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n")]);
    assert_eq!(driver.network.records()[0].received, b"AT");
    let mut driver = Driver::connected("--prompt-latency 8ms --quirk early-payload-kept", 0);
    driver.run(&[("AT+QSSLSEND=0,2\rHi", "")]);
    assert!(driver.after(Duration::from_millis(8)).starts_with("\r\n> \r\nSEND OK\r\n"));
}

#[test]
fn an_answer_to_a_read_ends_with_one_line_end_or_two() {
    for (quirks, answer) in [
        ("", "\r\n+QSSLRECV: 2\r\nHi\r\n\r\nOK\r\n"),
        ("--quirk receive-tail-short", "\r\n+QSSLRECV: 2\r\nHi\r\nOK\r\n"),
    ] {
        let mut driver = Driver::connected(quirks, 0);
        driver.say("AT+QSSLSEND=0,2\r");
        driver.say("Hi");
        driver.run(&[("AT+QSSLRECV=0,1460\r", answer)]);
    }
}

#[test]
fn the_result_of_an_open_with_or_without_an_empty_line_and_before_or_after_the_ok() {
    for (quirks, at_once, later) in [
        ("", OK, "\r\n+QSSLOPEN: 0,0\r\n"),
        ("--quirk open-result-without-empty-line", OK, "+QSSLOPEN: 0,0\r\n"),
        ("--quirk open-result-before-ok", "", "\r\n+QSSLOPEN: 0,0\r\n\r\nOK\r\n"),
    ] {
        let mut driver = Driver::new(quirks);
        driver.run(&[("ATE0;+QIACT=1\r", "ATE0;+QIACT=1\r\r\nOK\r\n")]);
        driver.run(&[("AT+QSSLOPEN=1,1,0,\"a.example\",443,0\r", at_once)]);
        assert_eq!(driver.after(Duration::from_millis(100)), later, "{quirks}");
    }
}

#[test]
fn arrivals_are_announced_once_or_each_time() {
    for (quirks, again) in [("", ""), ("--quirk receive-urc-per-arrival", "\r\n+QSSLURC: \"recv\",0\r\n")] {
        let mut driver = Driver::connected(quirks, 0);
        driver.say("AT+QSSLSEND=0,2\r");
        driver.run(&[("Hi", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n")]);
        driver.say("AT+QSSLSEND=0,2\r");
        driver.run(&[("Hi", &format!("\r\nSEND OK\r\n{again}"))]);
        // Once everything has been read, the next arrival is announced again.
        driver.say("AT+QSSLRECV=0,1460\r");
        driver.say("AT+QSSLRECV=0,1460\r");
        driver.say("AT+QSSLSEND=0,2\r");
        driver.run(&[("Hi", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n")]);
    }
}

#[test]
fn errors_as_numbers_or_as_texts() {
    for (options, answer) in [
        ("--no-sim", "\r\n+CME ERROR: 10\r\n"),
        ("--no-sim --quirk errors-as-text", "\r\n+CME ERROR: SIM not inserted\r\n"),
    ] {
        let mut driver = Driver::new(options);
        driver.run(&[("ATE0;+CMEE=1\r", "ATE0;+CMEE=1\r\r\nOK\r\n"), ("AT+CPIN?\r", answer)]);
    }
    let mut driver = Driver::new("--quirk socket-errors-as-cme --quirk errors-as-text");
    driver.run(&[("ATE0\r", "ATE0\r\r\nOK\r\n")]);
    assert!(driver.say("AT+QSSLSEND=0,2\r").starts_with("\r\n+CME ERROR: "));
}

#[test]
fn a_module_that_answers_552_after_some_opens_until_it_is_rebooted() {
    let mut driver = Driver::new("--quirk opens-until-degraded=2");
    let opens = |driver: &mut Driver| {
        driver.run(&[("ATE0;+QIACT=1\r", "ATE0;+QIACT=1\r\r\nOK\r\n")]);
        for _ in 0..2 {
            driver.say("AT+QSSLOPEN=1,1,0,\"a.example\",443,0\r");
            assert_eq!(driver.after(Duration::from_millis(100)), "\r\n+QSSLOPEN: 0,0\r\n");
            driver.run(&[("AT+QSSLCLOSE=0\r", OK)]);
        }
    };
    opens(&mut driver);
    for _ in 0..3 {
        driver.run(&[("AT+QSSLOPEN=1,1,0,\"a.example\",443,0\r", "\r\nOK\r\n\r\n+QSSLOPEN: 0,552\r\n")]);
    }
    driver.say("AT+CFUN=1,1\r");
    assert!(driver.after(Duration::from_secs(10)).starts_with("\r\nRDY\r\n"));
    opens(&mut driver);
}

#[test]
fn the_line_feed_of_a_slow_host_is_no_payload_and_a_payload_that_begins_with_one_is_kept() {
    let mut driver = Driver::connected("--field", 0);
    driver.run(&[("AT\r\n", OK), ("AT+QSSLSEND=0,5\r", "\r\n> ")]);
    driver.after(LINE_FEED_LATER);
    driver.run(&[("\n", ""), ("hello", "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n")]);
    assert_eq!(driver.network.records()[0].received, b"hello");
    // Only one of them can be of the command line.
    driver.run(&[("AT+QSSLSEND=0,2\r", "\r\n> "), ("\n", ""), ("\n1", "\r\nSEND OK\r\n")]);
    // Long after the prompt it is payload.
    driver.run(&[("AT+QSSLSEND=0,2\r", "\r\n> ")]);
    driver.after(Duration::from_millis(50));
    driver.run(&[("\n", ""), ("2", "\r\nSEND OK\r\n")]);
    // A host that ends its lines with CR alone may send it at once.
    driver.run(&[("AT\r", OK), ("AT\r", OK)]);
    driver.run(&[("AT+QSSLSEND=0,2\r", "\r\n> "), ("\n3", "\r\nSEND OK\r\n")]);
    assert_eq!(driver.network.records()[0].received, b"hello\n1\n2\n3");
    // It is the same with a file.
    driver.run(&[("AT\r\n", OK), ("AT+QFUPL=\"a\",3\r", "\r\nCONNECT\r\n")]);
    driver.run(&[("\n", ""), ("abc", "\r\n+QFUPL: 3,262\r\n\r\nOK\r\n")]);
}

#[test]
fn what_is_typed_while_a_command_runs_waits_by_a_quirk() {
    for (quirk, answer) in [("", ""), ("--quirk input-queued", "\r\n+CSQ: 28,99\r\n\r\nOK\r\n\r\nOK\r\n")] {
        let options = format!("--send-latency 16ms --prompt-latency 8ms {quirk}");
        let mut driver = Driver::connected(&options, 0);
        // What comes before the prompt is lost all the same.
        driver.run(&[("AT+QSSLSEND=0,5\rxx", "")]);
        assert_eq!(driver.after(Duration::from_millis(8)), "\r\n> ");
        driver.run(&[("hello", ""), ("AT+CSQ\rAT", ""), ("\r", "")]);
        let heard = driver.after(Duration::from_millis(16));
        let sent = "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n";
        assert!(heard.contains("\r\nSEND OK\r\n") && heard.contains(answer), "{heard:?}");
        assert_eq!(heard.len(), sent.len() + answer.len(), "{heard:?}");
        assert_eq!(driver.network.records()[0].received, b"hello");
        driver.run(&[("AT\r", OK)]);
    }
}

#[test]
fn what_was_received_before_a_cut_can_be_read_or_not() {
    let cut = Behaviour {
        says: Says::Text(vec![b'x'; 20_000]),
        ends: Ends::AfterSaying(20_000),
        how: Ending::Cut,
        ..Behaviour::sink()
    };
    for (options, bytes) in [
        ("", 10_980),
        ("--family ec20", 20_000),
        ("--quirk unread-kept-when-cut", 20_000),
        ("--family ec20 --quirk unread-lost-when-cut", 10_980),
        ("--field --quirk unread-lost-when-cut", 10_980),
        ("--field", 20_000),
    ] {
        let mut driver = Driver::facing(cut.clone(), options);
        driver.ask("ATE0\r", OK);
        driver.ask("AT+QIACT=1\r", OK);
        driver.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,0\r", "+QSSLOPEN: 0,0\r\n");
        let mut read = 0;
        loop {
            let heard = driver.say("AT+QSSLRECV=0,1220\r");
            read += heard.matches('x').count();
            if heard.contains("ERROR") || heard.contains("+QSSLRECV: 0\r\n") {
                break;
            }
        }
        assert_eq!(read, bytes, "{options}");
    }
}

#[test]
fn resumption_has_another_name_where_the_module_has_it() {
    let mut driver = Driver::new("--module bg770a-gl");
    driver.run(&[
        ("ATE0\r", "ATE0\r\r\nOK\r\n"),
        ("AT+QSSLCFG=\"session\",1,1\r", OK),
        ("AT+QSSLCFG=\"session\",1\r", "\r\n+QSSLCFG: \"session\",1,1\r\n\r\nOK\r\n"),
        ("AT+QSSLCFG=\"session_cache\",1,1\r", ERROR),
        ("AT+QIACT=1\r", OK),
    ]);
    driver.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,0\r", "+QSSLOPEN: 0,0\r\n");
    let tls = driver.network.records()[0].request.tls.clone().expect("it was a TLS socket");
    assert_eq!(tls.session_cache, Some(1));
    let mut driver = Driver::new("");
    assert!(!driver.say("AT+QSSLCFG=?\r").contains("\"session\""));
}

#[test]
fn a_host_of_a_bg96_that_asks_how_much_is_unread() {
    // As TinyGSM does.
    let mut driver = Driver::new("--field --module bg96");
    for line in ["ATE0", "AT+CMEE=0", "AT+CGMM", "AT+CTZU=0", "AT+CPIN?", "AT+CGATT=1"] {
        driver.ask(&format!("{line}\r\n"), OK);
    }
    driver.ask("AT+CEREG?\r\n", "+CEREG: 0,1\r\n");
    driver.ask("AT+QIDEACT=1\r\n", OK);
    driver.ask("AT+QICSGP=1,1,\"internet\",\"\",\"\"\r\n", OK);
    driver.ask("AT+QIACT=1\r\n", OK);
    driver.ask("AT+QSSLCFG=\"sslversion\",1,3\r\n", OK);
    driver.ask("AT+QSSLCFG=\"seclevel\",1,0\r\n", OK);
    driver.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,0\r\n", "+QSSLOPEN: 0,0\r\n");
    driver.ask("AT+QSSLSTATE=1,0\r\n", "\"SSLClient\"");
    driver.ask("AT+QSSLSEND=0,7\r\n", ">");
    driver.ask("GET /hi", "SEND OK\r\n");
    driver.ask("AT+QSSLRECV=0,0\r\n", "+QSSLRECV: 7,0,7\r\n");
    driver.ask("AT+QSSLRECV=0,7\r\n", "+QSSLRECV: 7\r\nGET /hi\r\n");
    driver.ask("AT+QSSLRECV=0,0\r\n", "+QSSLRECV: 7,7,0\r\n");
    driver.ask("AT+QSSLCLOSE=0\r\n", OK);
}

#[test]
fn a_host_of_an_eg800k_that_writes_one_byte_at_a_time() {
    // As Bluepaws does; its line feeds come before the prompt of that module, and after one that is quicker.
    for options in ["--field --module eg800k", "--field --module eg800k --prompt-latency 0"] {
        bytes_one_at_a_time(options);
    }
}

fn bytes_one_at_a_time(options: &str) {
    let mut driver = Driver::new(options);
    for line in ["AT", "ATE0", "AT+CPIN?", "AT+QIACT=1"] {
        driver.ask_slowly(line, OK);
    }
    driver.ask_slowly("AT+QSSLCFG=\"sslversion\",1,4", OK);
    driver.ask_slowly("AT+QSSLCFG=\"ciphersuite\",1,0XFFFF", OK);
    driver.ask_slowly("AT+QSSLOPEN=1,1,0,\"a.example\",443,0", "+QSSLOPEN: 0,0\r\n");
    for round in 1..=3 {
        let payload = format!("message number {round}");
        driver.ask_slowly(&format!("AT+QSSLSEND=0,{}", payload.len()), "> ");
        for byte in payload.chars() {
            driver.say(&byte.to_string());
        }
        let heard = driver.after(Duration::from_millis(1));
        let heard = driver.wait_for(heard, "+QSSLURC: \"recv\",0\r\n");
        assert!(heard.starts_with("\r\nSEND OK\r\n"), "{heard:?}");
        let read = driver.ask_slowly("AT+QSSLRECV=0,4096", "OK\r\n");
        assert!(read.contains(&format!("+QSSLRECV: {}\r\n{payload}\r\n", payload.len())), "{read:?}");
        driver.ask_slowly("AT+QSSLRECV=0,4096", "+QSSLRECV: 0\r\n");
    }
    let received = &driver.network.records()[0].received;
    assert_eq!(received, b"message number 1message number 2message number 3");
}

#[test]
fn a_host_of_a_bg600_that_wants_the_registration_and_the_context_of_the_standard() {
    // As insighio's does: without both it never opens a socket.
    let mut driver = Driver::new("--field");
    for line in ["ATE0", "AT+CMEE=1", "AT+CFUN=1", "AT+CGDCONT=1,\"IP\",\"internet\""] {
        driver.ask(&format!("{line}\r\n"), OK);
    }
    driver.ask("AT+CREG?\r\n", "+CREG: 0,1\r\n");
    driver.ask("AT+CGACT=1,1\r\n", OK);
    driver.ask("AT+CGACT?\r\n", "+CGACT: 1,1\r\n");
    driver.ask("AT+QCSQ\r\n", "+QCSQ: \"LTE\",-57,");
    driver.ask("AT+QSSLOPEN=1,1,2,\"a.example\",443,0\r\n", "+QSSLOPEN: 2,0\r\n");
    driver.ask("AT+QSSLSEND=2,5\r\n", "> ");
    driver.ask("hello", "SEND OK\r\n");
    driver.ask("AT+QSSLRECV=2,1500\r\n", "+QSSLRECV: 5\r\nhello\r\n");
    driver.ask("AT+QSSLCLOSE=2\r\n", OK);
}

#[test]
fn a_host_of_a_bg95_that_does_not_wait_for_send_ok_and_reads_on_after_a_reset() {
    // As quectel-bg9x-atat does.
    let options = "--field --module bg95-m3 --send-latency 16ms";
    let open = |server: Behaviour| {
        let mut driver = Driver::facing(server, options);
        for line in ["ATE0", "AT+QIACT=1", "AT+QSSLCFG=\"checkhost\",1,0", "AT+QSSLCFG=\"seclevel\",1,0"] {
            driver.ask(&format!("{line}\r\n"), OK);
        }
        driver.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,0\r\n", "+QSSLOPEN: 0,0\r\n");
        driver
    };
    let mut driver = open(Behaviour::echo());
    driver.ask("AT+QSSLSEND=0,5\r\n", "> ");
    driver.say("hello");
    let heard = driver.ask("AT+QSSLSEND=0,5\r\n", "> ");
    assert!(heard.starts_with("\r\nSEND OK\r\n"), "{heard:?}");
    driver.say("world");
    let heard = driver.ask("AT+QSSLRECV=0,512\r\n", "+QSSLRECV: 5\r\nhello\r\n");
    assert!(heard.starts_with("\r\nSEND OK\r\n"), "{heard:?}");
    driver.ask("AT+QSSLRECV=0,512\r\n", "+QSSLRECV: 5\r\nworld\r\n");

    let (says, ends) = (Says::Text(vec![b'x'; 20_000]), Ends::AfterSaying(20_000));
    let mut driver = open(Behaviour { says, ends, how: Ending::Cut, ..Behaviour::sink() });
    let mut read = 0;
    loop {
        let heard = driver.ask("AT+QSSLRECV=0,512\r\n", "OK\r\n");
        read += heard.matches('x').count();
        if heard.contains("+QSSLRECV: 0\r\n") {
            break;
        }
    }
    assert_eq!(read, 20_000);
    driver.ask("AT+QSSLCLOSE=0\r\n", OK);
}

#[test]
fn a_host_of_an_ec801e_that_never_activates_a_context_and_wants_the_result_of_a_send_by_urc() {
    // As esp-ml307 does.
    let mut driver = Driver::new("--field --module ec801e");
    for line in ["ATE0", "AT+CEREG=2", "AT+QICFG=\"sendinfo\",1", "AT+QSSLCFG=\"seclevel\",1,0"] {
        driver.ask(&format!("{line}\r\n"), OK);
    }
    driver.ask("AT+CGPADDR\r\n", "+CGPADDR: 1,\"10.7.157.1\"\r\n");
    driver.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,1\r\n", "+QSSLOPEN: 0,0\r\n");
    driver.ask("AT+QSSLSEND=0,5\r\n", "> ");
    let heard = driver.ask("hello", "+QSSLURC: \"recv\",0,5\r\nhello");
    assert!(heard.starts_with("\r\nOK\r\n\r\n+QISEND: 0,0,5\r\n"), "{heard:?}");
    driver.ask("AT+QSSLCLOSE=0\r\n", OK);
}

#[test]
fn a_host_of_a_bg95_that_resolves_names_itself() {
    // As bg9x_ssl_zephyr does.
    let mut driver = Driver::new("--field --module bg95-m3");
    driver.ask("ATE0\r", OK);
    driver.ask("AT+QCSQ\r", "+QCSQ: \"LTE\",");
    driver.ask("AT+QIACT=1\r", OK);
    driver.ask("AT+QSSLCFG=\"seclevel\",1,0\r", OK);
    let heard = driver.ask("AT+QIDNSGIP=1,\"a.example\"\r", "+QIURC: \"dnsgip\",\"");
    assert!(heard.contains("+QIURC: \"dnsgip\",0,1,"), "{heard:?}");
    let address = heard.rsplit('"').nth(1).expect("it is in quotes").to_owned();
    driver.ask(&format!("AT+QSSLOPEN=1,1,0,\"{address}\",443,1\r"), "+QSSLOPEN: 0,0\r\n");
    driver.ask("AT+QSSLSEND=0,5\r", "> ");
    driver.ask("hello", "+QSSLURC: \"recv\",0,5\r\nhello");
    driver.ask("AT+QSSLCLOSE=0\r", OK);
}

#[test]
fn a_host_of_cat_1_modules_that_finds_the_context_active() {
    let mut driver = Driver::new("--field --cold-boot --boot-time 2 --context-active --address 100.64.0.9");
    assert_eq!(driver.after(Duration::from_secs(1)), "");
    assert!(driver.after(Duration::from_secs(1)).starts_with("\r\nRDY\r\n"));
    driver.after(Duration::from_secs(1));
    driver.ask("ATE0\r\n", OK);
    driver.ask("AT+CGCONTRDP\r\n", "+CGCONTRDP: 1,5,\"\",\"100.64.0.9\",");
    driver.ask("AT+QPING=1,\"a.example\",1,1\r\n", "+QPING: 0,1,1,0,");
    driver.ask("AT+QIOPEN=1,0,\"TCP\",\"a.example\",80,0,0\r\n", "+QIOPEN: 0,0\r\n");
    driver.ask("AT+QISEND=0,5\r\n", "> ");
    driver.ask("hello", "+QIURC: \"recv\",0\r\n");
    driver.ask("AT+QIRD=0,1500\r\n", "+QIRD: 5\r\nhello\r\n");
}
