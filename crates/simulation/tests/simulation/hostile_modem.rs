//! Goal of this test: whatever a modem sends, the core keeps its limits and notices. It resets the clients concerned
//! rather than giving them wrong bytes, and serves again when the modem works.

use std::time::Duration;

use qssl_core::at::AtText;
use qssl_core::settings::{self, Authentication, Mode, Tls, Transport};

use qssl_simulation::Outcome;
use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::seconds;

/// A core that is ready, with a tunnel in push and one in buffer mode.
fn ready() -> ByHand {
    let mut hand = ByHand::new(&[Mode::Push, Mode::Buffer], 1, true, |_| {});
    hand.run_until_ready();
    hand
}

/// Connects a client to a tunnel, and returns it and its socket.
fn connect(hand: &mut ByHand, tunnel: usize) -> (usize, usize) {
    let opens = hand.ports[0].opened.len();
    let client = hand.connect(tunnel).expect("the core takes clients");
    hand.run_until("the socket opens", seconds(60), |hand| hand.ports[0].opened.len() > opens);
    hand.run_for(seconds(1));
    (client, hand.ports[0].opened[opens].0)
}

/// The modem works again: two clients exchange bytes and see an end.
fn serves(hand: &mut ByHand, after: &str) {
    hand.run_until("the core is up again", seconds(300), |hand| hand.relay.modem().is_up());
    hand.run_for(seconds(30));
    for tunnel in [0, 1] {
        let (client, socket) = connect(hand, tunnel);
        assert_eq!(hand.send(client, b"question"), 8, "{after}");
        hand.run_for(seconds(1));
        assert_eq!(hand.ports[0].taken[socket], b"question", "{after}");
        match tunnel {
            0 => hand.says(0, format!("\r\n+QSSLURC: \"recv\",{socket},6\r\nanswer").as_bytes()),
            _ => {
                hand.ports[0].waiting[socket].extend(b"answer");
                hand.says(0, format!("\r\n+QSSLURC: \"recv\",{socket}\r\n").as_bytes());
            }
        }
        hand.far_end_closes(0, socket);
        hand.run_until("the client ends", seconds(60), |hand| hand.clients[client].outcome.is_some());
        assert_eq!(hand.clients[client].outcome, Some(Outcome::Eof), "{after}");
        assert_eq!(hand.clients[client].received, b"answer", "{after}");
    }
}

/// How many resyncs there were.
fn resyncs(hand: &ByHand) -> u64 {
    hand.relay.modem().counters().resyncs
}

#[test]
fn a_megabyte_without_a_line_end() {
    for byte in [b'A', b'\0', 0xFF, b'>', b'"', b' '] {
        let mut hand = ready();
        let (client, _) = connect(&mut hand, 0);
        let before = resyncs(&hand);
        for _ in 0..1_024 {
            hand.says(0, &[byte; 1_024]);
            assert!(hand.relay.port_output(0).len() < 4_096);
        }
        hand.run_for(seconds(60));
        let is_noise = matches!(byte, b'\0' | 0xFF | b' ');
        assert_eq!(resyncs(&hand) > before, !is_noise, "byte {byte:#x}");
        // Noise before a line has no effect; a line without an end has.
        let outcome = if is_noise { None } else { Some(Outcome::Reset) };
        assert_eq!(hand.clients[client].outcome, outcome, "byte {byte:#x}");
        hand.says(0, b"\r\n");
        serves(&mut hand, "a megabyte without a line end");
    }
}

#[test]
fn numbers_that_no_socket_and_no_length_has() {
    const NUMBERS: [&str; 12] = [
        "-1",
        "-2147483648",
        "12",
        "255",
        "256",
        "65536",
        "4294967296",
        "99999999999999999999999999",
        "1e3",
        "0x10",
        "one",
        "",
    ];
    const LINES: [&str; 10] = [
        "+QSSLURC: \"recv\",N",
        "+QSSLURC: \"closed\",N",
        "+QSSLOPEN: N,0",
        "+QSSLOPEN: 0,N",
        "+QIURC: \"pdpdeact\",N",
        "+CME ERROR: N",
        "+QSSLSTATE: N,\"SSLClient\",\"1.2.3.4\",443,0,2,1,0,1,\"uart1\",0",
        "+QIGETERROR: N,what",
        "+QIOPEN: N,0",
        "+CSQ: N,N",
    ];
    let mut hand = ready();
    let (client, socket) = connect(&mut hand, 0);
    let before = resyncs(&hand);
    for number in NUMBERS {
        for line in LINES {
            hand.says(0, format!("\r\n{}\r\n", line.replace('N', number)).as_bytes());
        }
    }
    assert_eq!(resyncs(&hand), before, "a line that says nothing we know is ignored");
    hand.says(0, format!("\r\n+QSSLURC: \"recv\",{socket},4\r\ndata").as_bytes());
    assert_eq!(hand.clients[client].received, b"data");
    assert_eq!(hand.clients[client].outcome, None);
    serves(&mut hand, "strange numbers");

    // After an impossible length the framing is lost: what follows may be payload or not.
    for line in ["+QSSLURC: \"recv\",0,N", "+QSSLRECV: N"] {
        for number in ["-1", "16385", "4294967296", "99999999999999999999999999", "1e3", "one"] {
            let mut hand = ready();
            let (push, _) = connect(&mut hand, 0);
            let (buffer, _) = connect(&mut hand, 1);
            let before = resyncs(&hand);
            hand.says(0, format!("\r\n{}\r\n", line.replace('N', number)).as_bytes());
            assert_eq!(resyncs(&hand), before + 1, "{line} {number}");
            for client in [push, buffer] {
                assert_eq!(hand.clients[client].outcome, Some(Outcome::Reset), "{line} {number}");
            }
            serves(&mut hand, line);
        }
    }
}

#[test]
fn numbers_in_answers_that_were_not_asked_for() {
    let answers: [(&str, &str); 12] = [
        ("AT+QSSLRECV", "\r\n+QSSLRECV: 1500\r\n"),
        ("AT+QSSLRECV", "\r\n+QSSLRECV: -1\r\n\r\nOK\r\n"),
        ("AT+QSSLRECV", "\r\nOK\r\n"),
        ("AT+QSSLRECV", "\r\n+QSSLRECV: 2\r\nab\r\n+QSSLRECV: 2\r\ncd\r\nOK\r\n"),
        ("AT+QSSLRECV", "\r\nERROR\r\n"),
        ("AT+QSSLRECV", "\r\nCONNECT\r\n"),
        ("AT+QSSLRECV", "\r\n> "),
        ("AT+QSSLRECV", "\r\nSEND OK\r\n"),
        ("AT+QSSLRECV", ""),
        ("AT+QSSLSTATE", "\r\n+QSSLSTATE: -1,\"SSLClient\",,,,,,,,,\r\n\r\nOK\r\n"),
        ("AT+QSSLCLOSE", "\r\n+CME ERROR: 99999999999\r\n"),
        ("AT+QIACT?", "\r\n+QIACT: 1,1,1,\"10.7.157.1\r\n\r\nOK\r\n"),
    ];
    for (command, answer) in answers {
        let mut hand = ready();
        let (client, socket) = connect(&mut hand, 1);
        hand.ports[0].instead.push_back((command, answer.into()));
        hand.ports[0].waiting[socket].extend(b"waiting");
        hand.says(0, format!("\r\n+QSSLURC: \"recv\",{socket}\r\n").as_bytes());
        hand.far_end_closes(0, socket);
        hand.run_until("the client ends", seconds(300), |hand| hand.clients[client].outcome.is_some());
        let received = &hand.clients[client].received;
        let name = format!("{command} answered with {answer:?}");
        if hand.clients[client].outcome == Some(Outcome::Eof) {
            let asked_again = matches!(answer, "\r\nSEND OK\r\n" | "\r\n> " | "\r\nCONNECT\r\n");
            assert!(received == b"waiting", "{name}: {}", received.escape_ascii());
            assert!(command != "AT+QSSLRECV" || asked_again, "{name}: an end that nobody vouches for");
        }
        serves(&mut hand, &name);
    }
}

#[test]
fn bytes_for_sockets_that_were_never_opened() {
    let mut hand = ready();
    let (client, socket) = connect(&mut hand, 0);
    for id in (0..12).filter(|id| *id != socket).chain([12, 77, 255]) {
        for length in [1, 1_460, 16_384] {
            let mut bytes = format!("\r\n+QSSLURC: \"recv\",{id},{length}\r\n").into_bytes();
            // What looks like a URC for this client is payload of another socket.
            let inner = format!("\r\n+QSSLURC: \"recv\",{socket},3\r\nbad");
            bytes.extend(inner.bytes().cycle().take(length));
            hand.says(0, &bytes);
        }
        hand.says(0, format!("\r\n+QSSLURC: \"closed\",{id}\r\n\r\n+QSSLOPEN: {id},566\r\n").as_bytes());
    }
    hand.says(0, format!("\r\n+QSSLURC: \"recv\",{socket},4\r\ngood").as_bytes());
    assert_eq!(hand.clients[client].received, b"good");
    assert_eq!(hand.clients[client].outcome, None);
    assert_eq!(resyncs(&hand), 0);
    serves(&mut hand, "bytes of nobody");
}

#[test]
fn a_flood_of_results_that_nobody_asked_for() {
    for word in ["OK", "ERROR", "CONNECT", "SEND OK", "SEND FAIL", "NO CARRIER", "+CME ERROR: 3", "> "] {
        let mut hand = ready();
        let (client, socket) = connect(&mut hand, 0);
        let flood = format!("\r\n{word}\r\n").repeat(1_000);
        for _ in 0..100 {
            hand.says(0, flood.as_bytes());
        }
        let before = resyncs(&hand);
        assert_eq!(before, 0, "{word}: nothing was in flight");
        // Results before the right one end a command too early, and that is noticed.
        hand.send(client, &[b'x'; 3_000]);
        hand.says(0, flood.as_bytes());
        hand.run_for(seconds(60));
        let taken = &hand.ports[0].taken[socket];
        assert!(taken.iter().all(|byte| *byte == b'x') && taken.len() <= 3_000, "{word}");
        serves(&mut hand, word);
    }
}

#[test]
fn urcs_at_line_rate_for_an_hour() {
    // 115,200 baud carry 1,152 bytes in 100 ms.
    let urcs =
        ["\r\n+QIND: SMS DONE\r\n", "\r\n+QSSLURC: \"recv\",7\r\n", "\r\nRING\r\n", "\r\n+CREG: 1\r\n"];
    let flood: Vec<u8> = urcs.concat().into_bytes().into_iter().cycle().take(1_152).collect();
    let mut hand = ByHand::new(&[Mode::Push, Mode::Buffer], 1, false, |_| {});
    hand.run_until_ready();
    let (client, socket) = connect(&mut hand, 0);
    let (idle, _) = connect(&mut hand, 1);
    let sent = (0..=255).cycle().take(360_000).collect::<Vec<u8>>();
    let mut position = 0;
    for step in 0..36_000 {
        // Whole lines only, because the modem's answers come in between.
        let whole = flood.len() - flood.iter().rev().position(|byte| *byte == b'\n').unwrap_or(0);
        hand.says(0, &flood[..whole]);
        if step % 10 == 0 {
            position += hand.send(client, &sent[position..(position + 100).min(sent.len())]);
        }
        hand.run_for(Duration::from_millis(100));
    }
    assert!(hand.elapsed() >= seconds(3_600));
    assert_eq!(hand.ports[0].taken[socket], sent, "the client's bytes got through, in order");
    assert_eq!([hand.clients[client].outcome, hand.clients[idle].outcome], [None, None]);
    assert_eq!(resyncs(&hand), 0);
    let kept: usize = hand.relay.modem().recorder(0).expect("there is one").text().len();
    assert!(kept <= 256 * 1024, "the flight recorder keeps {kept} bytes");
    serves(&mut hand, "an hour of noise");
}

#[test]
fn a_length_that_is_announced_and_never_filled() {
    for count in [0, 1, 499] {
        let mut hand = ready();
        let (client, socket) = connect(&mut hand, 0);
        let (other, _) = connect(&mut hand, 1);
        let mut bytes = format!("\r\n+QSSLURC: \"recv\",{socket},500\r\n").into_bytes();
        bytes.extend(std::iter::repeat_n(b'p', count));
        hand.says(0, &bytes);
        hand.run_for(seconds(60));
        assert_eq!(hand.clients[client].outcome, Some(Outcome::Reset), "{count} of 500 bytes");
        assert_eq!(hand.clients[client].received, vec![b'p'; count]);
        assert_eq!(
            hand.clients[other].outcome,
            Some(Outcome::Reset),
            "whose bytes went missing nobody knows"
        );
        assert_eq!(resyncs(&hand), 1);
        serves(&mut hand, "an announced length");
    }
    // The same in the answer to a read.
    let mut hand = ready();
    let (client, socket) = connect(&mut hand, 1);
    hand.ports[0].instead.push_back(("AT+QSSLRECV", b"\r\n+QSSLRECV: 1000\r\nnot so many".to_vec()));
    hand.says(0, format!("\r\n+QSSLURC: \"recv\",{socket}\r\n").as_bytes());
    hand.run_for(seconds(60));
    assert_eq!(hand.clients[client].outcome, Some(Outcome::Reset));
    assert_eq!(hand.clients[client].received, b"not so many");
    serves(&mut hand, "an announced length in an answer");
}

#[test]
fn a_client_that_does_not_read_while_the_modem_pushes_without_end() {
    let mut hand = ready();
    let (client, socket) = connect(&mut hand, 0);
    hand.clients[client].reads = false;
    let message = format!("\r\n+QSSLURC: \"recv\",{socket},1000\r\n{}", "p".repeat(1_000));
    for _ in 0..200 {
        hand.says(0, message.as_bytes());
    }
    hand.run_for(seconds(600));
    assert_eq!(
        hand.clients[client].outcome,
        Some(Outcome::Reset),
        "nobody waits for ever for one that does not read"
    );
    serves(&mut hand, "pushes without end");
}

#[test]
fn a_switch_of_mode_that_is_refused_although_others_were_not_is_asked_for_with_pauses() {
    let mut hand = ready();
    let (client, socket) = connect(&mut hand, 0);
    hand.clients[client].reads = false;
    let message = format!("\r\n+QSSLURC: \"recv\",{socket},1000\r\n{}", "p".repeat(1_000));
    let switches = |hand: &ByHand| {
        hand.ports[0].commands.iter().filter(|command| command.starts_with("AT+QISWTMD")).count()
    };
    // The switches so far were made because the core did not know yet whether URCs reach it.
    let before = switches(&hand);
    let switches = |hand: &ByHand| switches(hand) - before;
    hand.ports[0].instead.push_back(("AT+QISWTMD", b"\r\nOK\r\n".to_vec()));
    // At first the switch back to push mode is refused, and later the next switch to buffer mode.
    for _ in 0..6 {
        hand.ports[0].instead.push_back(("AT+QISWTMD", b"\r\nERROR\r\n".to_vec()));
    }
    (0..50).for_each(|_| hand.says(0, message.as_bytes()));
    hand.run_for(seconds(1));
    assert_eq!(switches(&hand), 1);
    hand.clients[client].reads = true;
    hand.run_for(Duration::from_millis(3_500));
    assert!((3..=5).contains(&switches(&hand)), "{} in 3.5 s", switches(&hand));
    hand.run_for(seconds(60));
    assert_eq!(switches(&hand), 8, "with growing pauses, until it is taken");
    hand.clients[client].reads = false;
    for _ in 0..3 {
        hand.ports[0].instead.push_back(("AT+QISWTMD", b"\r\nERROR\r\n".to_vec()));
    }
    (0..50).for_each(|_| hand.says(0, message.as_bytes()));
    hand.run_for(Duration::from_millis(1_500));
    assert_eq!(switches(&hand), 10);
    hand.run_for(seconds(2));
    hand.clients[client].reads = true;
    hand.run_for(seconds(5));
    assert_eq!(hand.clients[client].outcome, None);
    assert_eq!(hand.clients[client].received, [b'p'; 100_000]);
    serves(&mut hand, "refused switches");
}

#[test]
fn binary_garbage_of_every_kind() {
    for seed in 1..=40 {
        let mut chance = qssl_simulation::Chance::new(seed);
        let mut hand = ready();
        let (client, _) = connect(&mut hand, 0);
        let alphabet: &[u8] = match seed % 4 {
            0 => &[],
            1 => b"\r\n\0",
            2 => b"+QSSLURC: \"recv\",0123456789\r\n",
            _ => b"OKERR+CME:>\r\n \x1A\x1B+",
        };
        for _ in 0..200 {
            let garbage: Vec<u8> = (0..chance.within(1..=300))
                .map(|_| if alphabet.is_empty() { chance.number() as u8 } else { *chance.pick(alphabet) })
                .collect();
            hand.says(0, &garbage);
            if chance.once_in(10) {
                hand.run_for(Duration::from_millis(chance.below(3_000)));
            }
            hand.send(client, b"x");
        }
        hand.says(0, b"\r\n");
        hand.run_for(seconds(120));
        serves(&mut hand, &format!("garbage of seed {seed}"));
    }
}

#[test]
fn a_modem_that_refuses_what_it_is_asked_is_asked_with_pauses() {
    let everything = ["AT+", "ATE", "ATI", "ATV", "ATQ", "AT&"].as_slice();
    let alone = ["AT+QSSLSTATE", "AT+QIACT?", "AT+QSSLCFG", "AT+QISWTMD", "AT+QSSLSEND"];
    let alone = alone.iter().map(std::slice::from_ref).chain([["AT+CMEE?"].as_slice(), &["AT+QSSLRECV"]]);
    for refused in std::iter::once(everything).chain(alone) {
        for (from_the_start, clients) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut hand = ByHand::new(&[Mode::Push, Mode::Buffer], 1, false, |_| {});
            if !from_the_start {
                hand.run_until_ready();
            }
            hand.ports[0].refuses = refused.to_vec();
            let (mut most, mut late) = (0, 0);
            for second in 0..300 {
                let before = hand.ports[0].commands.len();
                if second == 200 {
                    late = before;
                }
                if clients && second % 10 == 0 {
                    let client = hand.connect(0);
                    hand.connect(1);
                    hand.run_for(Duration::from_millis(100));
                    client.map(|client| hand.send(client, b"question"));
                    let socket = second % 12;
                    let pushed = format!(
                        "\r\n+QSSLURC: \"recv\",{socket},4\r\ndata\r\n+QSSLURC: \"closed\",{socket}\r\n"
                    );
                    hand.says(0, pushed.as_bytes());
                }
                hand.run_for(seconds(1));
                most = most.max(hand.ports[0].commands.len() - before);
            }
            assert!(most < 100, "{refused:?}: {most} commands in a second");
            let late = hand.ports[0].commands.len() - late;
            let most_late = if clients { 1_000 } else { 50 };
            let last: Vec<&String> = hand.ports[0].commands.iter().rev().take(20).collect();
            assert!(late <= most_late, "{refused:?}: {late} commands in the last 100 seconds: {last:?}");
        }
    }
}

#[test]
fn what_is_refused_and_not_needed_keeps_no_tunnel_down() {
    let settings =
        ["negotiatetime", "ignorelocaltime", "sni", "ciphersuite", "session_cache", "renegotiation"];
    let settings = settings.map(|key| format!("AT+QSSLCFG=\"{key}\""));
    let lists = ["=?", "?"].map(|form| format!("AT+QSSLCFG{form}"));
    let questions = ["AT+CPIN?", "AT+CEREG?", "AT+CNMI?", "AT+QMTCONN?", "AT+QSSLOPEN=?"];
    let questions = questions.map(str::to_owned);
    for refused in settings.into_iter().chain(lists).chain(questions) {
        let mut hand = ByHand::new(&[Mode::Push, Mode::Buffer], 1, true, |_| {});
        hand.ports[0].refuses = vec![refused.clone().leak()];
        serves(&mut hand, &refused);
        assert_eq!(hand.stopped, None, "{refused}");
    }
}

/// `AT` was once repeated every half second, for ever.
#[test]
fn a_modem_that_answers_every_at_with_an_error_is_asked_more_and_more_rarely() {
    for from_the_start in [true, false] {
        let mut hand = ByHand::new(&[Mode::Push, Mode::Buffer], 1, false, |_| {});
        if !from_the_start {
            hand.run_until_ready();
            hand.ports[0].instead.push_back(("AT", Vec::new()));
        }
        hand.ports[0].refuses = vec!["AT"];
        let minutes: Vec<usize> = (0..30)
            .map(|_| {
                let before = hand.ports[0].commands.len();
                hand.run_for(seconds(60));
                hand.ports[0].commands.len() - before
            })
            .collect();
        assert!(minutes[0] <= 15 && minutes[5..].iter().all(|minute| *minute <= 4), "{minutes:?}");
        assert!(minutes[5..].windows(2).all(|pair| pair[0] + pair[1] > 0), "it is not given up: {minutes:?}");
        hand.ports[0].refuses.clear();
        hand.run_until("the core is up again", seconds(60), |hand| hand.relay.modem().is_up());
        serves(&mut hand, "errors to every AT");
    }
}

/// Every number in an answer of the modem, when the core asks for it: no value ends the process, and the tunnel serves
/// when the modem sends sensible values again.
#[test]
fn numbers_in_answers_that_nothing_has() {
    const ANSWERS: [(&str, &str); 32] = [
        ("AT+CSQ", "+CSQ: #,#"),
        ("AT+CREG", "+CREG: #,#"),
        ("AT+CGREG", "+CGREG: #,#"),
        ("AT+CEREG", "+CEREG: #,#,\"#\",\"#\",#"),
        ("AT+COPS", "+COPS: #,#,\"#\",#"),
        ("AT+CPIN", "+CPIN: #"),
        ("AT+QPINC", "+QPINC: \"SC\",#,#"),
        ("AT+CCLK?", "+CCLK: \"#/#/#,#:#:#+#\""),
        ("AT+CCLK?", "+CCLK: \"26/11/26,17:00:00-#\""),
        ("AT+CCLK?", "+CCLK: \"26/11/26,17:00:00+#\""),
        ("AT+CCLK?", "+CCLK: \"#/11/26,#:00:00+04\""),
        ("AT+QIACT?", "+QIACT: #,#,#,\"#\""),
        ("AT+QIACT?", "+QIACT: 1,#,#,\"10.7.157.1\""),
        ("AT+CNMI?", "+CNMI: #,#,#,#,#"),
        ("AT+QMTCONN?", "+QMTCONN: #,#"),
        ("AT+QSSLSTATE", "+QSSLSTATE: #,\"SSLClient\",\"#\",#,#,#,#,#,#,\"#\",#"),
        ("AT+QSSLSTATE", "+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.2\",#,#,#,#,#,#,\"uart1\",#"),
        (
            "AT+QSSLCFG",
            "+QSSLCFG: \"sslversion\",(#-#),(#-#)\r\n+QSSLCFG: \"seclevel\",#,#\r\n+QSSLCFG: \"cacert\",(0-#),#",
        ),
        ("AT+QSSLOPEN=?", "+QSSLOPEN: (#-#),(#-#),(#-#),<addr>,(#-#),(#-#)"),
        ("AT+QSSLSEND=?", "+QSSLSEND: (#-#),(#-#)"),
        ("AT+QSSLRECV=?", "+QSSLRECV: (#-#),(#-#)"),
        ("AT+QSSLCLOSE=?", "+QSSLCLOSE: (#-#),(#-#)"),
        ("ATI", "#\r\nN\r\nRevision: #"),
        ("AT+CPINR", "+CPINR: SIM PIN,#,#"),
        ("AT+QNTP", "OK\r\n\r\n+QNTP: #,\"#/#/#,#:#:#+#\""),
        ("AT+QNTP", "OK\r\n\r\n+QNTP: 0,\"26/11/26,17:00:00+#\""),
        ("AT+QFLST", "+QFLST: \"UFS:#\",#\r\n+QFLST: \"b\",#"),
        ("AT+QFLDS", "+QFLDS: #,#"),
        ("AT+QFUPL", "CONNECT\r\n\r\n+QFUPL: #,#"),
        ("AT+QFDWL", "CONNECT\r\nabc\r\n+QFDWL: #,#"),
        ("AT+QFDWL", "CONNECT #\r\nabc\r\n+QFDWL: 3,#"),
        ("AT+QSSLSEND", "CONNECT #"),
    ];
    const NUMBERS: [&str; 10] = [
        "-10248191152060862",
        "9223372036854775808",
        "18446744073709551616",
        "4294967296",
        "65536",
        "256",
        "-1",
        "0",
        "1e3",
        "",
    ];
    for (command, answer) in ANSWERS {
        for number in NUMBERS {
            let name = format!("{command} answered with {answer}, # = {number}");
            let words = answer.replace('#', number);
            // With these settings, files are stored and the network is asked for the time.
            let mut hand = ByHand::new(&[Mode::Push, Mode::Buffer], 1, false, |settings| {
                settings.modem.ntp = Some(AtText::new("pool.ntp.org").expect("a text"));
                let pem = settings::Pem { source: "ca.pem".into(), bytes: b"a certificate".to_vec() };
                for tunnel in &mut settings.tunnels {
                    let tls = Tls::new(Authentication::Authorities(vec![pem.clone()]));
                    std::sync::Arc::make_mut(tunnel).transport = Transport::Tls(tls);
                }
            });
            if command == "AT+QFDWL" {
                hand.run_until_ready();
                hand.says(0, b"\r\nRDY\r\n");
            }
            for _ in 0..3 {
                hand.ports[0].instead.push_back((command, format!("\r\n{words}\r\n\r\nOK\r\n").into_bytes()));
            }
            hand.run_for(seconds(120));
            for tunnel in [0, 1] {
                hand.connect(tunnel);
                hand.run_for(seconds(5));
            }
            if ["AT+QF", "AT+QNTP"].iter().any(|asked| command.starts_with(asked)) {
                assert!(hand.ports[0].instead.len() < 3, "{command} was never asked");
            }
            hand.ports[0].instead.clear();
            // Limits that a module reports hold until it is asked again.
            hand.says(0, b"\r\nRDY\r\n");
            hand.run_for(seconds(120));
            match hand.stopped {
                // Its answer means that no tunnel can work with it.
                Some(_) => {}
                None => serves(&mut hand, &name),
            }
        }
    }
}

#[test]
fn garbage_from_the_first_byte_on_and_a_modem_only_later() {
    let mut hand = ByHand::new(&[Mode::Push, Mode::Buffer], 1, true, |_| {});
    hand.ports[0].is_mute = true;
    let mut chance = qssl_simulation::Chance::new(7);
    for _ in 0..2_000 {
        let garbage: Vec<u8> = (0..40).map(|_| chance.number() as u8).collect();
        hand.says(0, &garbage);
        hand.run_for(Duration::from_millis(97));
    }
    assert_eq!(hand.stopped, None, "it waits for a modem as long as it takes");
    hand.ports[0].is_mute = false;
    serves(&mut hand, "garbage from the start");
}

#[test]
fn a_modem_that_reboots_without_end() {
    let mut hand = ready();
    for _ in 0..200 {
        hand.says(0, b"\r\nRDY\r\n\r\nPOWERED DOWN\r\n\r\nRDY\r\n");
        hand.run_for(seconds(3));
        hand.connect(0);
    }
    hand.run_for(seconds(300));
    assert!(hand.clients.iter().all(|client| client.outcome != Some(Outcome::Eof)), "nobody was served");
    serves(&mut hand, "reboots");
}

#[test]
fn a_stream_that_is_nothing_but_the_words_of_its_end() {
    for words in [
        "\r\nNO CARRIER\r\n",
        "\r\nRDY\r\n",
        "\r\nPOWERED DOWN\r\n",
        "\r\nOK\r\n",
        "\r\n+QSSLURC: \"closed\",0",
    ] {
        for pause in [Duration::ZERO, Duration::from_millis(400)] {
            let mut hand = ByHand::new(&[Mode::Transparent], 1, true, |_| {});
            hand.run_until_ready();
            let client = hand.connect(0).expect("the core takes clients");
            hand.run_for(seconds(2));
            let mut said = String::new();
            for _ in 0..500 {
                if hand.clients[client].outcome.is_some() {
                    break;
                }
                hand.says(0, words.as_bytes());
                said.push_str(words);
                hand.run_for(pause);
            }
            hand.finish(client, true);
            hand.run_until("the client ends", seconds(300), |hand| hand.clients[client].outcome.is_some());
            let received = &hand.clients[client].received;
            assert!(said.as_bytes().starts_with(received), "{words:?} with {pause:?} between");

            // A new stream gets its own bytes and nothing else.
            hand.run_until("the core is up", seconds(300), |hand| hand.relay.modem().is_up());
            hand.run_for(seconds(30));
            let (client, socket) = connect(&mut hand, 0);
            hand.send(client, b"question");
            hand.says(0, b"answer");
            hand.run_for(seconds(2));
            assert_eq!(hand.ports[0].taken[socket], b"question", "{words:?}");
            assert_eq!(hand.clients[client].received, b"answer", "{words:?}");
        }
    }
}
