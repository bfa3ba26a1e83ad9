//! Material for random runs: bytes and words that must have no effect, and switches that are left out.

use qssl_core::at::transcript::{Event, Transcript};

/// Messages that other programs make the modem send, each with its frame.
pub fn other_programs() -> Vec<Vec<u8>> {
    let text = include_str!("../../core/tests/answers/other-programs.txt");
    let entries = Transcript::parse(text).expect("the file is a transcript").entries;
    let said = entries.into_iter().filter_map(|entry| match entry.event {
        Event::Modem(bytes) => Some(bytes.made_up()),
        Event::Host(_) | Event::Pause(_) => None,
    });
    said.collect()
}

/// Payload that looks like something else.
pub const NASTY: [&[u8]; 12] = [
    b"\r\nNO CARRIER\r\n",
    b"\r\nOK\r\n",
    b"\r\nERROR\r\n",
    b"\r\nSEND OK\r\n",
    b"\r\n> ",
    b"+++",
    b"+",
    b"\r\n+QSSLURC: \"recv\",0,4\r\n",
    b"\r\n+QSSLURC: \"closed\",1\r\n",
    b"\r\nRDY\r\n",
    b"\r",
    b"\x1A\x1B\0",
];

/// URCs without meaning for the core, or about sockets that are not open.
pub const URCS: [&str; 8] = [
    "+QIND: SMS DONE",
    "RING",
    "+CREG: 1",
    "+CPIN: READY",
    "+QSSLURC: \"recv\",11",
    "+QIURC: \"pdpdeact\",5",
    "+QSSLURC: \"recv\",77,0",
    "+QSSLURC: nonsense",
];

/// Switches with which no core could work, and one that blocks a port for longer than a command may take.
pub const UNFAIR: [&str; 3] = ["early_payload_kept", "payload_echoed", "open_result_before_ok"];

/// What may be on a line between two messages.
pub const NOISE: [&[u8]; 4] = [b"\0", b"\xE0\xFF", b"\r\n", b"\r\n\r\n"];

/// Payload that looks like frames, or like the words of a module that leaves them.
pub const NASTY_IN_FRAMES: [&[u8]; 8] = [
    b"\xF9",
    b"\xF9\xF9\xF9\xF9\xF9\xF9\xF9\xF9",
    b"\r\nCONNECT\r\n",
    b"\r\nNO CARRIER\r\n",
    b"\r\nRDY\r\n",
    // CLD, DISC of channel 1, and the beginning of a long frame.
    b"\xF9\x03\xEF\x05\xC3\x01\xF2\xF9",
    b"\xF9\x07\x53\x01\x3F\xF9",
    b"\xF9\x0B\xEF\xFE\xFF",
];

/// What may be on a line between two frames.
pub const NOISE_BETWEEN_FRAMES: [&[u8]; 7] = [
    b"\0",
    b"\xE0\xFF",
    b"\r\n",
    b"\xF9\xF9\xF9",
    // The beginnings of frames.
    b"\xF9\x07\xEF",
    b"\xF9\x0B\xEF\x68\x0B",
    b"\xF9\x0B\xEF\xFE\xFF",
];

/// The names of what real modules do differently where a line carries several channels.
pub fn mux_habits() -> Vec<&'static str> {
    let names = qssl_modem_emulator::Quirks::SWITCHES.iter().map(|(name, _)| *name);
    names.filter(|name| name.starts_with("mux_")).collect()
}
