//! Goal of this test: payload that looks like results, URCs and escapes is transferred like any other, in every access
//! mode, wherever it is cut into pieces.

use std::io::{Read as _, Write as _};

use qssl_modem_emulator::test_server::Behaviour;

use qssl_test_common::harness::{MODES, Site, connect};

#[test]
fn words_of_the_modem_are_payload() {
    for mode in MODES {
        carry(mode, "");
    }
}

#[test]
fn words_of_the_modem_are_payload_behind_a_device_server() {
    for mode in MODES {
        carry(mode, "--rfc2217 127.0.0.1:0");
    }
}

fn carry(mode: &str, options: &str) {
    let words: &[&[u8]] = &[
        b"\r\nNO CARRIER\r\n",
        b"\r\nOK\r\n",
        b"\r\nERROR\r\n",
        b"\r\nRDY\r\n",
        b"\r\nPOWERED DOWN\r\n",
        b"\r\n> ",
        b"\r\nSEND OK\r\n",
        b"\r\nSEND FAIL\r\n",
        b"\r\nCONNECT\r\n",
        b"\r\n+QSSLURC: \"closed\",0\r\n",
        b"\r\n+QSSLURC: \"recv\",0,5\r\nHELLO",
        b"\r\n+QSSLRECV: 5\r\nHELLO\r\n\r\nOK\r\n",
        b"\r\n+QIURC: \"pdpdeact\",1\r\n",
        b"AT+QSSLCLOSE=0\r",
        b"+++",
        b"++++",
        b"\x1a\x1b\x00\xff\xff\xff\x11\x13",
        b"\xff\xfb\x2c\xff\xfa\x2c\x01\xff\xf0",
    ];
    let site = Site::new(Behaviour::Echo, options);
    let tunnel = site.tunnel(&["--mode", mode]);
    let mut client = connect(tunnel.address());
    // Each word alone: waiting for its echo makes pauses before and after it.
    for word in words {
        client.write_all(word).expect("the tunnel takes it");
        let mut answer = vec![0; word.len()];
        client.read_exact(&mut answer).unwrap_or_else(|error| {
            panic!("{mode} {options}: {}: {error}: {}", word.escape_ascii(), tunnel.log())
        });
        assert_eq!(&answer, word, "{mode} {options}: {}", word.escape_ascii());
    }
    // All together.
    let all = words.concat();
    client.write_all(&all).expect("the tunnel takes it");
    let mut answer = vec![0; all.len()];
    client.read_exact(&mut answer).expect("the server answers");
    assert_eq!(answer, all, "{mode} {options}");
}
