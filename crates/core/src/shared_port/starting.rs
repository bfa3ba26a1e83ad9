//! How a port is made to carry several channels: AT+CMUX=?, the settings of AT+QCFG about channels, and AT+CMUX.
//!
//! ```text
//!   Asking ──ranges, or none──► Reading ──► Entering ──OK, or silence──► Settling ──► started
//!      │                         ▲   │ differs │  ▲ ERROR: shorter frames, then none named
//!      │                         └ Setting     │  └──────┐
//!      └───────────────────────────────────────┴─────────┴──► refused
//! ```
//! All of it is plain data, and time is an argument.

use std::time::{Duration, Instant};

use crate::at::answers::{Answer, CmuxRanges, SharedSetting};

/// The dialogue.
#[derive(Debug)]
pub struct Starting {
    step: StartingStep,
    /// When the step is over if nothing more comes.
    due: Instant,
    /// The speed of the line in bit/s.
    baud: u32,
    /// How much a frame may carry, in bytes, in the order in which it is tried; `None`: the module's default.
    frame_sizes: Vec<Option<u16>>,
    /// The most bytes of payload in a frame to the module, whatever it allows.
    frame_bytes_max: u16,
    /// Whether a module that does not answer AT+CMUX=? is asked all the same.
    insists: bool,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The settings that were changed, and what was found.
    changed: Vec<Changed>,
}

/// A setting of AT+QCFG that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    key: &'static str,
    found: String,
}

impl Changed {
    /// Whether both are the same setting.
    pub fn is_same_key(&self, other: &Changed) -> bool {
        self.key == other.key
    }

    /// What puts it back, without `AT`.
    pub fn line(&self) -> String {
        format!("+QCFG=\"{}\",{}", self.key, self.found)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartingStep {
    Asking,
    /// What is this setting of [`SETTINGS`]?
    Reading {
        index: usize,
    },
    /// It is being set.
    Setting {
        index: usize,
    },
    Entering {
        frame_size: Option<u16>,
    },
    /// Some modules need a pause before the first frame.
    Settling {
        frame_bytes: u16,
    },
}

/// What is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartingEffect {
    /// Nothing before [`Starting::deadline`].
    Wait,
    /// Send this.
    Send(String),
    /// Frames with at most this many bytes of payload can be sent now.
    Started(u16),
    /// The module has no CMUX here.
    Refused,
}

impl Starting {
    /// Begins with the question what the module can do, which is to be sent. `frame_bytes`: how much a frame carries if
    /// the module allows it. `insists`: also on a module that does not answer the question.
    pub fn new(baud: u32, frame_bytes: Option<u16>, insists: bool, now: Instant) -> (Self, &'static str) {
        let mut frame_sizes: Vec<Option<u16>> = match frame_bytes {
            Some(frame_bytes) => vec![Some(frame_bytes)],
            None => FRAME_BYTES.into_iter().map(Some).collect(),
        };
        frame_sizes
            .retain(|size| size.is_none_or(|size| u32::from(size) <= baud / 10 / FRAMES_PER_SECOND_MIN));
        if frame_sizes.last() != Some(&Some(FRAME_BYTES_DEFAULT)) {
            frame_sizes.push(Some(FRAME_BYTES_DEFAULT));
        }
        frame_sizes.push(None);
        let starting = Starting {
            step: StartingStep::Asking,
            due: now + ASK_WAIT,
            baud,
            frame_sizes,
            frame_bytes_max: frame_bytes.unwrap_or(u16::MAX),
            insists,
            line: Vec::new(),
            changed: Vec::new(),
        };
        (starting, "AT+CMUX=?\r")
    }

    /// The settings that were changed.
    pub fn take_changed(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.changed)
    }

    /// When [`Starting::due`] is due.
    pub fn deadline(&self) -> Instant {
        self.due
    }

    /// Bytes came. The lines that they end are added to `lines`.
    pub fn received(&mut self, bytes: &[u8], lines: &mut Vec<String>, now: Instant) -> StartingEffect {
        for byte in bytes {
            if !matches!(byte, b'\r' | b'\n') {
                self.line.push(*byte);
                self.line.truncate(LINE_MAX_BYTES);
                continue;
            }
            if self.line.is_empty() {
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            let next = self.line_came(&line, now);
            lines.push(line);
            match next {
                StartingEffect::Wait => {}
                next => return next,
            }
        }
        StartingEffect::Wait
    }

    fn line_came(&mut self, line: &str, now: Instant) -> StartingEffect {
        let is_error = line == "ERROR" || line.starts_with("+CME ERROR");
        match self.step {
            StartingStep::Asking if line == "OK" => self.read(0, now),
            StartingStep::Asking if is_error => self.cannot_be_asked(now),
            StartingStep::Asking => {
                if let Some(CmuxRanges { frame_bytes }) = CmuxRanges::of(line) {
                    self.frame_sizes.retain(|size| size.is_none_or(|size| frame_bytes.contains(&size)));
                }
                StartingEffect::Wait
            }
            StartingStep::Reading { index } if line == "OK" => {
                match self.changed.iter().any(|it| it.key == SETTINGS[index].key) {
                    true => self.set(index, now),
                    false => self.after(index, true, now),
                }
            }
            StartingStep::Reading { index } | StartingStep::Setting { index } if is_error => {
                self.not_set(index);
                self.after(index, false, now)
            }
            StartingStep::Reading { index } => {
                let Setting { key, value, .. } = SETTINGS[index];
                if let Some(setting) = SharedSetting::of(line)
                    && setting.is_asked_by(&format!("+QCFG=\"{key}\""))
                    && setting.value != value
                {
                    self.not_set(index);
                    self.changed.push(Changed { key, found: setting.value.to_owned() });
                }
                StartingEffect::Wait
            }
            StartingStep::Setting { index } if line == "OK" => self.after(index, true, now),
            StartingStep::Setting { .. } => StartingEffect::Wait,
            StartingStep::Entering { frame_size } if line == "OK" => self.entered(frame_size, now),
            StartingStep::Entering { .. } if is_error => self.enter(now),
            StartingStep::Entering { .. } | StartingStep::Settling { .. } => StartingEffect::Wait,
        }
    }

    /// The step is over.
    pub fn due(&mut self, now: Instant) -> StartingEffect {
        if now < self.due {
            return StartingEffect::Wait;
        }
        match self.step {
            StartingStep::Asking => self.cannot_be_asked(now),
            StartingStep::Reading { index } | StartingStep::Setting { index } => {
                self.after(index, false, now)
            }
            // Some modules do not answer it, and are there all the same.
            StartingStep::Entering { frame_size } => self.entered(frame_size, now),
            StartingStep::Settling { frame_bytes } => StartingEffect::Started(frame_bytes),
        }
    }

    fn cannot_be_asked(&mut self, now: Instant) -> StartingEffect {
        if self.insists { self.read(0, now) } else { StartingEffect::Refused }
    }

    /// Asks for this setting.
    fn read(&mut self, index: usize, now: Instant) -> StartingEffect {
        let Some(setting) = SETTINGS.get(index) else { return self.enter(now) };
        self.step = StartingStep::Reading { index };
        self.due = now + ASK_WAIT;
        StartingEffect::Send(format!("AT+QCFG=\"{}\"\r", setting.key))
    }

    fn set(&mut self, index: usize, now: Instant) -> StartingEffect {
        let Setting { key, value, .. } = SETTINGS[index];
        self.step = StartingStep::Setting { index };
        self.due = now + ASK_WAIT;
        StartingEffect::Send(format!("AT+QCFG=\"{key}\",{value}\r"))
    }

    /// It was not changed.
    fn not_set(&mut self, index: usize) {
        self.changed.retain(|it| it.key != SETTINGS[index].key);
    }

    /// The next setting is due. Of two names of one setting, a module has one.
    fn after(&mut self, index: usize, is_known: bool, now: Instant) -> StartingEffect {
        let skips = is_known && SETTINGS[index].has_another_name;
        self.read(index + 1 + usize::from(skips), now)
    }

    fn enter(&mut self, now: Instant) -> StartingEffect {
        if self.frame_sizes.is_empty() {
            return StartingEffect::Refused;
        }
        let frame_size = self.frame_sizes.remove(0);
        self.step = StartingStep::Entering { frame_size };
        self.due = now + ENTER_WAIT;
        let speed = SPEEDS.iter().position(|baud| *baud == self.baud).map(|index| index + 1);
        StartingEffect::Send(match (frame_size, speed) {
            (Some(frame_bytes), Some(speed)) => format!("AT+CMUX=0,0,{speed},{frame_bytes}\r"),
            _ => "AT+CMUX=0\r".to_owned(),
        })
    }

    fn entered(&mut self, frame_size: Option<u16>, now: Instant) -> StartingEffect {
        // Without the speed's number, no size was named either.
        let named = frame_size.filter(|_| SPEEDS.contains(&self.baud));
        // The module allows this much. A frame of ours is never longer than the user wants.
        let frame_bytes = named.unwrap_or(FRAME_BYTES_DEFAULT).min(self.frame_bytes_max);
        self.step = StartingStep::Settling { frame_bytes };
        self.due = now + SETTLE_TIME;
        StartingEffect::Wait
    }
}

/// A setting of AT+QCFG.
#[derive(Clone, Copy)]
struct Setting {
    key: &'static str,
    value: &'static str,
    /// The next one is the same, as other modules call it.
    has_another_name: bool,
}

/// What the channels need: URCs on the first alone, and no ring indicator for URCs, at which some modules take the lines
/// of their channels away. A module without the key answers ERROR, which is as good.
const SETTINGS: [Setting; 5] = [
    Setting { key: "cmux/urcport", value: "1", has_another_name: true },
    Setting { key: "emux/urcport", value: "1", has_another_name: false },
    Setting { key: "urc/ri/other", value: "\"off\"", has_another_name: false },
    Setting { key: "urc/ri/ring", value: "\"off\"", has_another_name: false },
    Setting { key: "urc/ri/smsincoming", value: "\"off\"", has_another_name: false },
];

/// What a frame carries, in bytes: long frames leave more of the line, short ones let answers pass sooner.
const FRAME_BYTES: [u16; 2] = [512, FRAME_BYTES_DEFAULT];

/// A longer frame is not asked for where the line carries fewer of them in a second: answers of other channels wait for it.
const FRAMES_PER_SECOND_MIN: u32 = 4;

/// What it carries unless another number is agreed upon (AT+CMUX, N1; the manuals' default).
const FRAME_BYTES_DEFAULT: u16 = 127;

/// The speeds that AT+CMUX has numbers for, from 1 on, in bit/s.
pub const SPEEDS: [u32; 8] = [9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600];

/// How long the answer to AT+CMUX=? may take.
const ASK_WAIT: Duration = Duration::from_secs(1);

/// How long the answer to AT+CMUX may take; without one, the module is taken to have entered the mode.
const ENTER_WAIT: Duration = Duration::from_millis(500);

/// The pause before the first frame: BG96 takes none at once.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// A longer line is cut.
const LINE_MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    /// What is sent to a module that gives these answers, and what comes of it. Questions about settings are refused.
    fn dialogue(
        baud: u32,
        wanted: Option<u16>,
        insists: bool,
        answers: &[&str],
    ) -> (Vec<String>, StartingEffect) {
        let mut time = now();
        let (mut starting, first) = Starting::new(baud, wanted, insists, time);
        let mut sent = vec![first.to_owned()];
        let mut answers = answers.iter();
        let mut answer = answers.next();
        loop {
            let next = match answer.take() {
                Some(answer) if !answer.is_empty() => {
                    starting.received(answer.as_bytes(), &mut Vec::new(), time)
                }
                _ => {
                    time = starting.deadline();
                    starting.due(time)
                }
            };
            match next {
                StartingEffect::Wait => {}
                StartingEffect::Send(text) if text.starts_with("AT+QCFG") => answer = Some(&"\r\nERROR\r\n"),
                StartingEffect::Send(text) => {
                    sent.push(text);
                    answer = answers.next();
                }
                end => return (sent, end),
            }
        }
    }

    const RANGES: &str =
        "\r\n+CMUX: (0),(0-2),(1-8),(1-32768),(1-255),(0-100),(2-255),(1-255),(1-7)\r\n\r\nOK\r\n";

    #[test]
    fn long_frames_are_asked_for_first_and_then_the_default() {
        let (sent, end) = dialogue(115_200, None, false, &[RANGES, "\r\nOK\r\n"]);
        assert_eq!(sent, ["AT+CMUX=?\r", "AT+CMUX=0,0,5,512\r"]);
        assert_eq!(end, StartingEffect::Started(512));
        let (sent, end) =
            dialogue(115_200, None, false, &[RANGES, "\r\nERROR\r\n", "\r\n+CME ERROR: 4\r\n", "\r\nOK\r\n"]);
        assert_eq!(sent[1..], ["AT+CMUX=0,0,5,512\r", "AT+CMUX=0,0,5,127\r", "AT+CMUX=0\r"]);
        assert_eq!(end, StartingEffect::Started(127));
    }

    #[test]
    fn a_frame_takes_a_quarter_of_a_second_at_the_most() {
        for (baud, sent_first) in [(9_600, "AT+CMUX=0,0,1,127\r"), (57_600, "AT+CMUX=0,0,4,127\r")] {
            let (sent, end) = dialogue(baud, Some(1_509), false, &[RANGES, "\r\nOK\r\n"]);
            assert_eq!((sent[1].as_str(), end), (sent_first, StartingEffect::Started(127)));
        }
        let (sent, _) = dialogue(57_600, None, false, &[RANGES, "\r\nOK\r\n"]);
        assert_eq!(sent[1], "AT+CMUX=0,0,4,512\r");
        let (sent, _) = dialogue(9_600, None, false, &[RANGES, "\r\nOK\r\n"]);
        assert_eq!(sent[1], "AT+CMUX=0,0,1,127\r");
    }

    #[test]
    fn what_the_module_does_not_list_is_not_asked_for() {
        let short = RANGES.replace("32768", "200");
        let (sent, end) = dialogue(921_600, None, false, &[&short, "\r\nOK\r\n"]);
        assert_eq!((sent[1].as_str(), end), ("AT+CMUX=0,0,8,127\r", StartingEffect::Started(127)));
        let (sent, end) = dialogue(115_200, Some(1_509), false, &[&short, "\r\nOK\r\n"]);
        assert_eq!((sent[1].as_str(), end), ("AT+CMUX=0,0,5,127\r", StartingEffect::Started(127)));
    }

    #[test]
    fn no_frame_is_longer_than_the_user_wants() {
        // The module refuses 64, does not list it, or the speed has no number: the module's frames may be longer then.
        let long = RANGES.replace("(1-32768)", "(100-32768)");
        let rows: [(u32, &[&str], &str); 4] = [
            (115_200, &[RANGES, "\r\nERROR\r\n", "\r\nOK\r\n"], "AT+CMUX=0,0,5,127\r"),
            (115_200, &[RANGES, "\r\nERROR\r\n", "\r\nERROR\r\n", "\r\nOK\r\n"], "AT+CMUX=0\r"),
            (115_200, &[&long, "\r\nOK\r\n"], "AT+CMUX=0,0,5,127\r"),
            (3_000_000, &[RANGES, "\r\nOK\r\n"], "AT+CMUX=0\r"),
        ];
        for (baud, answers, sent_last) in rows {
            let (sent, end) = dialogue(baud, Some(64), false, answers);
            assert_eq!(
                (sent.last().map(String::as_str), end),
                (Some(sent_last), StartingEffect::Started(64))
            );
        }
    }

    #[test]
    fn silence_after_the_command_is_taken_for_consent() {
        assert_eq!(dialogue(115_200, None, false, &[RANGES, ""]).1, StartingEffect::Started(512));
    }

    #[test]
    fn a_module_without_cmux_is_asked_only_if_that_is_insisted_on() {
        for answer in ["\r\nERROR\r\n", ""] {
            let (sent, end) = dialogue(115_200, None, false, &[answer]);
            assert_eq!((sent.len(), end), (1, StartingEffect::Refused));
            let (sent, end) = dialogue(115_200, None, true, &[answer, "\r\nOK\r\n"]);
            assert_eq!((sent[1].as_str(), end), ("AT+CMUX=0,0,5,512\r", StartingEffect::Started(512)));
        }
        let refusals = ["\r\nERROR\r\n"; 4];
        assert_eq!(dialogue(115_200, None, true, &refusals).1, StartingEffect::Refused);
    }

    #[test]
    fn settings_that_differ_are_set_and_can_be_put_back() {
        let time = now();
        let (mut starting, _) = Starting::new(115_200, None, false, time);
        let mut next = starting.received(RANGES.as_bytes(), &mut Vec::new(), time);
        let mut sent = Vec::new();
        while let StartingEffect::Send(text) = &next {
            sent.push(text.trim_end().to_owned());
            let answer = match text.trim_end() {
                "AT+QCFG=\"cmux/urcport\"" => "\r\n+QCFG: \"cmux/urcport\",0\r\n\r\nOK\r\n",
                "AT+QCFG=\"urc/ri/other\"" => "\r\n+QCFG: \"urc/ri/other\",\"pulse\",120,1\r\n\r\nOK\r\n",
                "AT+QCFG=\"urc/ri/ring\"" => "\r\n+QCFG: \"urc/ri/ring\",\"off\"\r\n\r\nOK\r\n",
                "AT+QCFG=\"urc/ri/smsincoming\"" => "\r\nERROR\r\n",
                _ => "\r\nOK\r\n",
            };
            next = starting.received(answer.as_bytes(), &mut Vec::new(), time);
        }
        let set: Vec<_> =
            sent.iter().filter(|line| line.starts_with("AT+QCFG") && line.contains(',')).collect();
        assert_eq!(set, ["AT+QCFG=\"cmux/urcport\",1", "AT+QCFG=\"urc/ri/other\",\"off\""]);
        assert!(!sent.iter().any(|line| line.contains("emux")), "it has the other name");
        let back: Vec<_> = starting.take_changed().iter().map(Changed::line).collect();
        assert_eq!(back, ["+QCFG=\"cmux/urcport\",0", "+QCFG=\"urc/ri/other\",\"pulse\",120,1"]);
    }

    #[test]
    fn a_speed_without_a_number_leaves_the_default() {
        let (sent, end) = dialogue(3_000_000, None, false, &[RANGES, "\r\nOK\r\n"]);
        assert_eq!((sent[1].as_str(), end), ("AT+CMUX=0\r", StartingEffect::Started(127)));
    }
}
