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
        let (piece, after) = rest.split_at(size.min(rest.len()));
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
        (Outcome::Open, 0),
        (Outcome::NotAllowed, 2),
        (Outcome::NetworkUnreachable, 3),
        (Outcome::HostUnreachable, 4),
        (Outcome::Refused, 5),
        (Outcome::TimedOut, 6),
        (Outcome::Busy, 1),
        (Outcome::Failed, 1),
    ] {
        assert_eq!(outcome.reply(how), [5, code, 0, 1, 0, 0, 0, 0, 0, 0], "{how:?}");
    }
}

#[test]
fn a_socks5_client_that_wants_something_else_is_told_so() {
    let no_target = "its target is neither a name nor an address";
    for (users, said, answer, reason) in [
        (None, &b"\x04\x01\0\x50"[..], &b""[..], "it does not speak SOCKS5"),
        (None, b"\x05\x01\x02", b"\x05\xff", "it offers no acceptable authentication"),
        (Some("a:b"), b"\x05\x01\0", b"\x05\xff", "it offers no acceptable authentication"),
        (Some("a:b"), b"\x05\x01\x02\x01\x01a\x01c", b"\x05\x02\x01\x01", "its user or password is wrong"),
        (
            Some("a:b"),
            b"\x05\x01\x02\x05\x01a\x01b",
            b"\x05\x02",
            "its authentication is not that of RFC 1929",
        ),
        (
            None,
            b"\x05\x01\0\x05\x02\0\x03\x01a\0\x01",
            b"\x05\0\x05\x07",
            "it wants something else than CONNECT",
        ),
        (None, b"\x05\x01\0\x05\x01\0\x02\x01a\0\x01", b"\x05\0\x05\x08", "its address is of no known type"),
        (None, b"\x05\x01\0\x05\x01\0\x03\x03a\"b\0\x01", b"\x05\0\x05\x01", no_target),
        (None, b"\x05\x01\0\x05\x01\0\x03\0\0\x01", b"\x05\0\x05\x01", no_target),
        (None, b"\x05\x01\0\x05\x01\0\x03\x01a\0\0", b"\x05\0\x05\x01", no_target),
    ] {
        for size in 1..=said.len() {
            let heard = hear(Protocol::Socks5, users, said, size);
            assert!(heard.0.starts_with(answer), "{said:?}: {:?}", heard.0);
            assert_eq!(heard.1, Then::Refused(reason), "{said:?} in pieces of {size}");
        }
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
    assert_eq!(asked.reply(Outcome::Open), b"HTTP/1.1 200 Connection established\r\n\r\n");
    for (how, code) in [
        (Outcome::NotAllowed, "403"),
        (Outcome::HostUnreachable, "502"),
        (Outcome::NetworkUnreachable, "502"),
        (Outcome::Refused, "502"),
        (Outcome::TimedOut, "504"),
        (Outcome::Busy, "503"),
        (Outcome::Failed, "502"),
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
        (None, &long, "431"),
        (None, &many, "431"),
        (Some("a:b"), "CONNECT a:1 HTTP/1.1\r\n\r\n", "407"),
        (Some("a:b"), "CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic YTpj\r\n\r\n", "407"),
        (Some("a:b"), "CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic ????\r\n\r\n", "407"),
        (Some("a:b"), "CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Bearer YTpi\r\n\r\n", "407"),
    ] {
        let heard = hear(Protocol::Http, users, said.as_bytes(), 1_000);
        let shown = &said[..said.len().min(60)];
        assert!(heard.0.starts_with(format!("HTTP/1.1 {code} ").as_bytes()), "{shown}: {:?}", heard.0);
        assert!(matches!(heard.1, Then::Refused(_)), "{shown}");
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
        ("127.0.0.1:22", &["127.0.0.1:22"], &["127.1:22", "0x7f000001:22", "2130706433:22", "localhost:22"]),
        ("[2001:db8::1]:22", &["[2001:db8:0:0::1]:22"], &["[2001:db8::2]:22"]),
        ("*.1:22", &["a.1:22"], &["127.0.0.1:22"]),
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
fn no_client_makes_it_hold_more_than_its_limit() {
    const HEADS: [&[u8]; 6] =
        [b"\x05\x01\0", b"\x05\x01\0\x05\x01\0\x03", b"CONNECT ", b"CONNECT a:1 HTTP/1.1\r\n", b"GET /", b""];
    let users = Arc::new(Credentials::parse("a:b").expect("credentials"));
    let mut state = 1_u64;
    let mut random = |below: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ (mixed >> 27)) >> 16) as usize % below
    };
    for _ in 0..MALFORMED {
        let protocol = [Protocol::Socks5, Protocol::Http, Protocol::Auto][random(3)];
        let mut handshake = Handshake::new(protocol, (random(4) == 0).then(|| users.clone()));
        let mut said = HEADS[random(HEADS.len())].to_vec();
        let length = if random(50) == 0 { 2 * HELD_MAX_BYTES } else { random(40) };
        said.extend((0..length).map(|_| random(256) as u8));
        let mut rest = &said[..];
        while !rest.is_empty() && handshake.room() > 0 {
            let (piece, after) = rest.split_at((1 + random(3_000)).min(rest.len()).min(handshake.room()));
            rest = after;
            let then = handshake.receive(piece).then;
            assert!(handshake.held.len() <= HELD_MAX_BYTES);
            if then != Then::More {
                assert_eq!(handshake.room(), 0);
            }
        }
    }
}

/// How many malformed handshakes are tried.
const MALFORMED: usize = 1_000_000;
