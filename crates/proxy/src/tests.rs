//! Goal of this test: a client gets the target that it asks for, or the answer that its protocol has for a refusal, however
//! its bytes are cut; and none makes us hold more than the limit.

use super::*;

/// What comes of these bytes, received in pieces of `size`: everything that is answered, what is next, and what is left.
fn hear(
    protocol: Protocol,
    users: Option<&str>,
    bytes: &[u8],
    size: usize,
) -> (Vec<u8>, Then, Vec<u8>, Handshake) {
    let credentials = users.map(|text| Arc::new(Credentials::parse(text).expect("credentials")));
    let mut handshake = Handshake::new(protocol, credentials);
    let (mut answer, mut then) = (Vec::new(), Then::More);
    let mut rest = bytes;
    while then == Then::More && !rest.is_empty() {
        let (piece, after) = rest.split_at(size.min(rest.len()).min(handshake.room()));
        rest = after;
        let step = handshake.receive(piece);
        answer.extend(step.answer);
        then = step.then;
    }
    let mut early = handshake.take_early();
    early.extend_from_slice(rest);
    (answer, then, early, handshake)
}

fn target(text: &str) -> Then {
    Then::Request(text.parse().expect("a target"))
}

/// The same in pieces of every size.
#[track_caller]
fn check(protocol: Protocol, users: Option<&str>, bytes: &[u8], answer: &[u8], then: &Then, early: &[u8]) {
    for size in 1..=bytes.len() {
        let heard = hear(protocol, users, bytes, size);
        assert_eq!(
            heard.0.escape_ascii().to_string(),
            answer.escape_ascii().to_string(),
            "in pieces of {size}"
        );
        assert_eq!(heard.1, *then, "in pieces of {size}");
        if matches!(then, Then::Request(_)) {
            assert_eq!(heard.2, early, "in pieces of {size}");
        }
    }
}

#[test]
fn a_socks5_client_gets_the_target_that_it_names() {
    for (request, wanted) in [
        (&b"\x05\x01\0\x03\x0bexample.org\x01\xbb"[..], "example.org:443"),
        (b"\x05\x01\0\x01\xc0\0\x02\x07\0\x50", "192.0.2.7:80"),
        (b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x16", "[2001:db8::1]:22"),
    ] {
        let said = [&b"\x05\x02\0\x02"[..], request, b"early"].concat();
        for protocol in [Protocol::Socks5, Protocol::Auto] {
            check(protocol, None, &said, b"\x05\0", &target(wanted), b"early");
        }
    }
    let said = b"\x05\x01\x02\x01\x04user\x06secret\x05\x01\0\x03\x01a\0\x01";
    check(Protocol::Auto, Some("user:secret\n"), said, b"\x05\x02\x01\0", &target("a:1"), b"");
    let outcome = hear(Protocol::Auto, None, b"\x05\x01\0\x05\x01\0\x03\x01a\0\x01", 99).3;
    for (how, code) in [
        (RequestOutcome::Open, 0),
        (RequestOutcome::NotAllowed, 2),
        (RequestOutcome::NetworkUnreachable, 3),
        (RequestOutcome::HostUnreachable, 4),
        (RequestOutcome::Refused, 5),
        (RequestOutcome::TimedOut, 6),
        (RequestOutcome::Busy, 1),
        (RequestOutcome::NotReady, 3),
        (RequestOutcome::Failed, 1),
    ] {
        assert_eq!(outcome.reply(how), [5, code, 0, 1, 0, 0, 0, 0, 0, 0], "{how:?}");
    }
}

#[test]
fn a_socks5_client_that_wants_something_else_is_told_so() {
    let no_target = "its target is neither a name nor an address";
    let no_connect = "only CONNECT is supported";
    let no_method = "it offers no acceptable authentication";
    let wrong_password = "its user or password is wrong";
    let longest = [&b"\x05\x01\0\x05\x01\0\x03\xfe"[..], &[b'a'; 254], b"\0\x01"].concat();
    for (users, said, answer, reason) in [
        (None, &b"\x04\x01\0\x50"[..], &b""[..], "it does not speak SOCKS5"),
        (None, b"\x05\0", b"\x05\xff", no_method),
        (None, b"\x05\x01\x02", b"\x05\xff", no_method),
        (Some("a:b"), b"\x05\x01\0", b"\x05\xff", no_method),
        (Some("a:b"), b"\x05\x01\x02\x01\x01a\x01c", b"\x05\x02\x01\x01", wrong_password),
        (Some("a:b"), b"\x05\x01\x02\x01\0\0", b"\x05\x02\x01\x01", wrong_password),
        (
            Some("a:b"),
            b"\x05\x01\x02\x05\x01a\x01b",
            b"\x05\x02",
            "its authentication is not that of RFC 1929",
        ),
        // From here on the answer is one to a request, and has an address.
        (None, b"\x05\x01\0\x04\x01\0\x03\x01a\0\x01", b"\x05\0\x05\x01", "it does not speak SOCKS5"),
        (None, b"\x05\x01\0\x05\x02\0\x03\x01a\0\x01", b"\x05\0\x05\x07", no_connect),
        (None, b"\x05\x01\0\x05\x03\0\x01\0\0\0\0\0\0", b"\x05\0\x05\x07", no_connect),
        (None, b"\x05\x01\0\x05\x01\0\x02\x01a\0\x01", b"\x05\0\x05\x08", "its address is of no known type"),
        (None, b"\x05\x01\0\x05\x01\0\x03\x03a\"b\0\x01", b"\x05\0\x05\x01", no_target),
        (None, b"\x05\x01\0\x05\x01\0\x03\x02\xc3\xbc\0\x01", b"\x05\0\x05\x01", no_target),
        (None, b"\x05\x01\0\x05\x01\0\x03\x0d10.0.0.1:80.a\0\x01", b"\x05\0\x05\x01", no_target),
        (None, b"\x05\x01\0\x05\x01\0\x03\0\0\x01", b"\x05\0\x05\x01", no_target),
        (None, b"\x05\x01\0\x05\x01\0\x03\x01a\0\0", b"\x05\0\x05\x01", no_target),
        (None, &longest, b"\x05\0\x05\x01", no_target),
    ] {
        let address: &[u8] = if answer.starts_with(b"\x05\0") { &[0, 1, 0, 0, 0, 0, 0, 0] } else { &[] };
        check(Protocol::Socks5, users, said, &[answer, address].concat(), &Then::Refused(reason), b"");
    }
}

#[test]
fn an_http_client_gets_the_target_that_it_names() {
    for (line, wanted) in [
        ("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", "example.org:443"),
        ("CONNECT [2001:db8::1]:22 HTTP/1.0\r\n\r\n", "[2001:db8::1]:22"),
    ] {
        let said = [line.as_bytes(), b"early"].concat();
        for protocol in [Protocol::Http, Protocol::Auto] {
            check(protocol, None, &said, b"", &target(wanted), b"early");
        }
    }
    let said = b"CONNECT a:1 HTTP/1.1\r\nproxy-authorization: basic dXNlcjpzZWNyZXQ=\r\n\r\n";
    check(Protocol::Auto, Some("# ours\nuser:secret\n"), said, b"", &target("a:1"), b"");
    let asked = hear(Protocol::Auto, None, b"CONNECT a:1 HTTP/1.1\r\n\r\n", 99).3;
    assert_eq!(asked.reply(RequestOutcome::Open), b"HTTP/1.1 200 Connection established\r\n\r\n");
    for (how, code) in [
        (RequestOutcome::NotAllowed, "403"),
        (RequestOutcome::HostUnreachable, "502"),
        (RequestOutcome::NetworkUnreachable, "502"),
        (RequestOutcome::Refused, "502"),
        (RequestOutcome::TimedOut, "504"),
        (RequestOutcome::Busy, "503"),
        (RequestOutcome::NotReady, "503"),
        (RequestOutcome::Failed, "502"),
    ] {
        let reply = String::from_utf8(asked.reply(how)).expect("text");
        assert!(reply.starts_with(&format!("HTTP/1.1 {code} ")), "{how:?}: {reply}");
        assert!(reply.ends_with("Content-Length: 0\r\nConnection: close\r\n\r\n"), "{how:?}: {reply}");
    }
}

#[test]
fn an_http_client_that_wants_something_else_is_told_so() {
    let long = format!("CONNECT a:1 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(HELD_MAX_BYTES));
    let many = format!("CONNECT a:1 HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(65));
    for (users, said, code) in [
        (None, "GET / HTTP/1.1\r\n\r\n", "405"),
        (None, "CONNECT example.org HTTP/1.1\r\n\r\n", "400"),
        (None, "CONNECT a\"b:1 HTTP/1.1\r\n\r\n", "400"),
        (None, "CONNECT a:1\r\n\r\n", "400"),
        (None, "CONNECT a:0 HTTP/1.1\r\n\r\n", "400"),
        (None, "CONNECT 2001:db8::1:22 HTTP/1.1\r\n\r\n", "400"),
        (None, "CONNECT http://a:1 HTTP/1.1\r\n\r\n", "400"),
        (None, "CONNECT a:1 HTTP/2.0\r\n\r\n", "400"),
        (None, "connect a:1 HTTP/1.1\r\n\r\n", "405"),
        (None, &long, "431"),
        (None, &many, "431"),
        (Some("a:b"), "CONNECT a:1 HTTP/1.1\r\n\r\n", "407"),
        (Some("a:b"), "CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic YTpj\r\n\r\n", "407"),
        (Some("a:b"), "CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic ????\r\n\r\n", "407"),
        (Some("a:b"), "CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Bearer YTpi\r\n\r\n", "407"),
    ] {
        let shown = &said[..said.len().min(60)];
        for size in (1..=said.len().min(200)).chain([1_000, HELD_MAX_BYTES]) {
            let heard = hear(Protocol::Http, users, said.as_bytes(), size);
            let answer = String::from_utf8(heard.0).expect("text");
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {code} ")),
                "{shown} in pieces of {size}: {answer}"
            );
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{shown} in pieces of {size}: {answer}");
            assert_eq!(answer.contains("\r\nAllow: CONNECT\r\n"), code == "405", "{answer}");
            assert_eq!(answer.contains("\r\nProxy-Authenticate: Basic "), code == "407", "{answer}");
            assert!(matches!(heard.1, Then::Refused(_)), "{shown} in pieces of {size}");
        }
    }
    assert_eq!(
        hear(Protocol::Auto, None, b"\x16\x03\x01", 3).1,
        Then::Refused("it speaks neither SOCKS5 nor HTTP")
    );
}

#[test]
fn what_is_allowed_is_what_is_written() {
    let allows = |pattern: &str, to: &str| {
        pattern.parse::<AllowedTarget>().expect("a pattern").allows(&to.parse().expect("a target"))
    };
    for (pattern, allowed, refused) in [
        (
            "example.org:443",
            &["example.org:443", "EXAMPLE.org.:443"][..],
            &["example.org:80", "a.example.org:443"][..],
        ),
        (
            "*.example.org:80,443",
            &["a.example.org:80", "a.b.example.org:443"],
            &["example.org:80", "badexample.org:80"],
        ),
        (
            "*:8000-8100",
            &["anything:8050", "127.0.0.1:8000", "[::1]:8100"],
            &["anything:7999", "anything:8101"],
        ),
        (
            "127.0.0.1:22",
            &["127.0.0.1:22"],
            &["127.1:22", "0x7f000001:22", "2130706433:22", "localhost:22", "[::ffff:127.0.0.1]:22"],
        ),
        ("[2001:db8::1]:22", &["[2001:db8:0:0::1]:22"], &["[2001:db8::2]:22"]),
        ("*.1:22", &["a.1:22"], &["127.0.0.1:22", "127.1:22", "0x7F.1:22", "0177.0.0.1:22", "127.0.0.1.:22"]),
        (
            "10.0.0.0/8:22",
            &["10.0.0.0:22", "10.255.255.255:22"],
            &["11.0.0.0:22", "9.255.255.255:22", "10.1:22", "[a00::]:22", "[::ffff:10.0.0.1]:22", "a:22"],
        ),
        ("192.0.2.6/31:22", &["192.0.2.6:22", "192.0.2.7:22"], &["192.0.2.5:22", "192.0.2.8:22"]),
        ("0.0.0.0/0:22", &["192.0.2.6:22"], &["[::1]:22", "a:22"]),
        ("[2001:db8::/32]:22", &["[2001:db8:ffff::1]:22"], &["[2001:db9::]:22", "32.1.13.184:22"]),
        ("[::/0]:22", &["[::1]:22"], &["192.0.2.6:22"]),
    ] {
        for to in allowed {
            assert!(allows(pattern, to), "{pattern} allows {to}");
        }
        for to in refused {
            assert!(!allows(pattern, to), "{pattern} does not allow {to}");
        }
        assert_eq!(pattern.parse::<AllowedTarget>().expect("a pattern").to_string(), pattern);
    }
    for bad in [
        "",
        "example.org",
        "*",
        "a:",
        "a:0",
        "a:9-8",
        "a:x",
        "a b:1",
        "**:1",
        "*a:1",
        "2001:db8::1",
        "[a:1",
        "[*]:1",
        "[example.org]:1",
        "[192.0.2.7]:1",
        "*.a:b:1",
        "10.0.0.1/8:1",
        "10.0.0.0/33:1",
        "10.0.0.0/:1",
        "10.0.0.0/+8:1",
        "[2001:db8::/129]:1",
        "2001:db8::/32:1",
        "a/8:1",
        "a\"b:1",
    ] {
        assert!(bad.parse::<AllowedTarget>().is_err(), "{bad}");
    }
}

#[test]
fn users_are_lines_and_are_never_shown() {
    let known = Credentials::parse("# who\n\na:b:c\r\nuser:secret\n").expect("credentials");
    assert!(known.has(b"a", b"b:c") && known.has(b"user", b"secret"));
    for (user, password) in [("a", "b"), ("user", "b:c"), ("user", "secretsecret"), ("", ""), ("user", "")] {
        assert!(!known.has(user.as_bytes(), password.as_bytes()), "{user}:{password}");
    }
    assert_eq!(format!("{known:?}"), "Credentials(2)");
    assert_eq!(Credentials::parse("a:b\nnobody\n"), Err(CredentialsError::Line(2)));
    assert_eq!(Credentials::parse("# none\n"), Err(CredentialsError::Empty));
}

#[test]
fn a_password_that_is_held_is_not_shown() {
    let mut handshake = Handshake::new(Protocol::Http, None);
    handshake.receive(b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic YTpi");
    assert_eq!(format!("{handshake:?}"), "Handshake { state: Http, held_bytes: 53, credentials: None }");
}

#[test]
fn no_client_makes_it_hold_more_than_its_limit_and_none_is_answered_by_how_its_bytes_are_cut() {
    const HEADS: [&[u8]; 9] = [
        b"",
        b"\x05\x01\0",
        b"\x05\x01\0\x05\x01\0\x03",
        b"\x05\x01\x02\x01\x01a\x01b\x05",
        b"GET /",
        b"CONNECT ",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic ",
        b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic YTpi\r\n\r\n",
    ];
    let users = Arc::new(Credentials::parse("a:b").expect("credentials"));
    let mut state = SEED;
    let mut random = |below: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as usize % below
    };
    let mut asked = 0;
    for round in 0..MALFORMED {
        let protocol = [Protocol::Socks5, Protocol::Http, Protocol::Auto][random(3)];
        let credentials = (random(4) == 0).then(|| users.clone());
        let mut said = HEADS[random(HEADS.len())].to_vec();
        let length = if random(200) == 0 { 2 * HELD_MAX_BYTES } else { random(40) };
        match random(2) {
            0 => said.extend((0..length).map(|_| random(256) as u8)),
            // What means something comes more often.
            _ => said.extend((0..length).map(|_| b"\x05\x01\0\x03\x04aA:1.[]-\" \r\n\r\n/=\xff"[random(22)])),
        }
        let mut run = |piece_max: usize| {
            let mut handshake = Handshake::new(protocol, credentials.clone());
            let (mut answer, mut then, mut taken) = (Vec::new(), Then::More, 0);
            while then == Then::More && taken < said.len() {
                let length = (1 + random(piece_max)).min(said.len() - taken).min(handshake.room());
                assert!(length > 0, "seed {SEED}, round {round}: there is no room for what is asked for");
                let step = handshake.receive(&said[taken..taken + length]);
                taken += length;
                answer.extend(step.answer);
                then = step.then;
                assert!(handshake.held.capacity() <= HELD_MAX_BYTES, "seed {SEED}, round {round}");
            }
            let mut early = handshake.take_early();
            early.extend_from_slice(&said[taken..]);
            (answer, then, early)
        };
        let (small, large) = (run(if length > 40 { 3_000 } else { 8 }), run(usize::MAX));
        let shown = said[..said.len().min(100)].escape_ascii();
        assert_eq!((&small.0, &small.1), (&large.0, &large.1), "seed {SEED}, round {round}: {shown}");
        if matches!(small.1, Then::Request(_)) {
            assert!(said.ends_with(&small.2), "seed {SEED}, round {round}: {shown}");
            assert_eq!(small.2, large.2, "seed {SEED}, round {round}: {shown}");
            asked += 1;
        }
    }
    assert!(asked > MALFORMED / 100, "only {asked} of {MALFORMED} clients came as far as a request");
}

/// How many malformed handshakes are tried, each cut in two ways.
const MALFORMED: usize = 1_000_000;
const SEED: u64 = 1;
