//! What fixes the wire format of a channel: echo, texts, result codes, modem lines, flow control, identity, speed.
//!
//! They are sent in one line first; a module that refuses that, or does not answer, gets them one by one. Nothing but
//! the speed and the question which modem it is must be answered.

/// How far the wire settings of a channel are.
#[derive(Debug)]
pub struct WireSettings {
    progress: Progress,
    /// How often in a row each was not answered.
    unanswered: [u32; SETTINGS_MAX],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The first is to be made, whatever is answered to one that may be in flight.
    Anew,
    /// This one is to be made, or in flight: its index in the list.
    At(usize),
    Made,
}

/// What the settings depend on.
#[derive(Debug)]
pub struct Wanted {
    /// RTS and CTS hold both sides.
    pub flow_control: bool,
    /// A drop of DTR leaves data mode.
    pub dtr_leaves_data_mode: bool,
    /// The question which device it is.
    pub identity: Option<&'static str>,
    /// The speed that it is to be moved to, in bit/s.
    pub baud: Option<u32>,
}

impl WireSettings {
    /// None has been made.
    pub fn new() -> Self {
        WireSettings { progress: Progress::Anew, unanswered: [0; SETTINGS_MAX] }
    }

    /// Whether all are made.
    pub fn are_made(&self) -> bool {
        self.progress == Progress::Made
    }

    /// Whether none has been sent since they are to be made anew: the modem has answered nothing yet.
    pub fn are_to_come(&self) -> bool {
        self.progress == Progress::Anew
    }

    /// Whether commands no longer come back, where the module has obeyed.
    pub fn have_silenced_echo(&self) -> bool {
        match self.progress {
            Progress::Anew => false,
            Progress::At(index) => index > ECHO_OFF,
            Progress::Made => true,
        }
    }

    /// All are to be made again.
    pub fn begin_anew(&mut self) {
        self.progress = Progress::Anew;
    }

    /// All are to be made again, but for those that were just being made: these go on where they were.
    pub fn go_on(&mut self) {
        if self.are_made() {
            self.begin_anew();
        }
    }

    /// The line to be sent next.
    pub fn next(&mut self, lines: &[String]) -> Option<String> {
        let mut index = match self.progress {
            Progress::Anew => 0,
            Progress::At(index) => index,
            Progress::Made => return None,
        };
        while self.unanswered.get(index).is_some_and(|times| *times >= UNANSWERED_MAX) {
            index += 1;
        }
        let line = lines.get(index).cloned();
        self.progress = if line.is_some() { Progress::At(index) } else { Progress::Made };
        line
    }

    /// The modem has answered the one that was sent.
    pub fn answer_came(&mut self) {
        if let Some(times) = self.times_unanswered() {
            *times = 0;
        }
    }

    /// It has answered with `OK`, or has refused it.
    pub fn answered(&mut self, is_ok: bool) {
        if let Progress::At(index) = &mut self.progress {
            *index = if *index == 0 && is_ok { 1 + SINGLE_SETTINGS } else { *index + 1 };
        }
    }

    /// The last one was made: what comes next is asked at another speed.
    pub fn all_made(&mut self) {
        self.progress = Progress::Made;
    }

    /// The one that was sent was not answered. Returns whether it is left out from now on.
    pub fn not_answered(&mut self) -> bool {
        let Some(times) = self.times_unanswered() else { return false };
        *times = times.saturating_add(1);
        *times == UNANSWERED_MAX
    }

    fn times_unanswered(&mut self) -> Option<&mut u32> {
        let Progress::At(index) = self.progress else { return None };
        self.unanswered.get_mut(index)
    }
}

impl Wanted {
    /// The lines, in their order.
    pub fn lines(&self) -> Vec<String> {
        let flow = if self.flow_control { "AT+IFC=2,2" } else { "AT+IFC=0,0" };
        // With &D1 a drop of DTR leaves data mode; otherwise DTR, which closing a tty can move, means nothing.
        let dtr = if self.dtr_leaves_data_mode { "AT&D1" } else { "AT&D0" };
        let singly: [&str; SINGLE_SETTINGS] = ["ATE0", "ATV1", "ATQ0", dtr, "AT&C1", "AT+CMEE=1", flow];
        // V.250: basic commands follow one another, extended ones end with a semicolon.
        let mut joined = String::from("AT");
        for line in singly {
            let name = line.strip_prefix("AT").unwrap_or(line);
            joined.push_str(name);
            joined.push_str(if name.starts_with('+') { ";" } else { "" });
        }
        let mut lines = vec![joined.trim_end_matches(';').to_owned()];
        lines.extend(singly.map(str::to_owned));
        lines.extend(self.identity.map(str::to_owned));
        lines.extend(self.baud.map(|baud| format!("{SPEED}{baud}")));
        lines
    }
}

/// Whether it is sent again however often it is not answered.
pub fn is_needed(line: &str) -> bool {
    line == ASK_SERIAL_NUMBER || line.starts_with(SPEED)
}

/// Asks for the IMEI.
pub const ASK_SERIAL_NUMBER: &str = "AT+GSN";

/// Asks for the maker's name.
pub const ASK_MAKER: &str = "ATI";

/// Sets the speed, in bit/s.
pub const SPEED: &str = "AT+IPR=";

/// The index of `ATE0` among the lines that have one setting each.
const ECHO_OFF: usize = 1;

/// The settings of the first line.
const SINGLE_SETTINGS: usize = 7;

/// There are fewer lines than this.
const SETTINGS_MAX: usize = 16;

/// How often in a row an optional setting is sent to a module that does not answer it.
const UNANSWERED_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            flow_control: true,
            dtr_leaves_data_mode: false,
            identity: Some(ASK_MAKER),
            baud: Some(921_600),
        }
    }

    /// What is sent to a module that answers each line so.
    fn sent(mut answer: impl FnMut(&str) -> Option<bool>) -> Vec<String> {
        let (mut settings, mut sent) = (WireSettings::new(), Vec::new());
        while let Some(line) = settings.next(&wanted().lines()) {
            match answer(&line) {
                Some(is_ok) => {
                    settings.answer_came();
                    settings.answered(is_ok);
                }
                None => drop(settings.not_answered()),
            }
            sent.push(line);
            assert!(sent.len() < 100, "it ends");
        }
        sent
    }

    #[test]
    fn one_line_is_enough_for_a_module_that_takes_it() {
        assert_eq!(sent(|_| Some(true)), ["ATE0V1Q0&D0&C1+CMEE=1;+IFC=2,2", "ATI", "AT+IPR=921600"]);
    }

    #[test]
    fn a_module_that_refuses_it_gets_them_one_by_one_and_may_refuse_each() {
        let all = sent(|_| Some(false));
        assert_eq!(all.len(), 1 + SINGLE_SETTINGS + 2);
        assert_eq!(all[1..4], ["ATE0", "ATV1", "ATQ0"]);
    }

    #[test]
    fn what_is_never_answered_is_left_out_after_three_tries() {
        let all = sent(|line| (line != "ATI").then_some(true));
        assert_eq!(all.iter().filter(|line| *line == "ATI").count(), UNANSWERED_MAX as usize);
        assert_eq!(all.last().map(String::as_str), Some("AT+IPR=921600"));
    }

    #[test]
    fn settings_that_were_being_made_go_on_where_they_were_and_others_begin_anew() {
        let mut settings = WireSettings::new();
        settings.next(&wanted().lines());
        settings.answered(true);
        settings.go_on();
        assert_eq!(settings.next(&wanted().lines()).as_deref(), Some("ATI"));
        settings.all_made();
        settings.go_on();
        assert_eq!(settings.next(&wanted().lines()), wanted().lines().first().cloned());
    }

    #[test]
    fn an_answer_to_one_from_before_does_not_count_when_all_are_to_be_made_again() {
        let lines = wanted().lines();
        for is_ok in [true, false] {
            let mut settings = WireSettings::new();
            settings.next(&lines);
            settings.answered(false);
            assert!(settings.next(&lines).as_deref() == Some("ATE0") && !settings.have_silenced_echo());
            settings.answered(true);
            assert!(settings.next(&lines).as_deref() == Some("ATV1") && settings.have_silenced_echo());
            settings.begin_anew();
            settings.answer_came();
            settings.answered(is_ok);
            assert_eq!(settings.next(&lines), lines.first().cloned());
        }
    }
}
