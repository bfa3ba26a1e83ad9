//! What a modem reports about its network and its cell: which questions there are, when the next may be asked, and what
//! is known.
//!
//! ```text
//!   settings::Radio::On:  one question a minute, in turn, when nothing else is due ──┐
//!   Input::AskNetwork:    signal, operator and registration at once ────────────────►├─► answered ─► Facts
//!                                                                     refused twice ─┴─► not asked again
//! ```

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::at::answers::{
    Answer, Measured, NoService, Operator, Registration, SerialNumber, ServingCell, Signal, Temperature,
};
use crate::at::{Command, CommandOutcome};
use crate::settings;

/// A question, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question(usize);

/// What is known of one modem's network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The network's name.
    pub operator: Option<String>,
    /// How the modem is registered there.
    pub registration: Option<Registration>,
    /// Received signal strength (RSSI) in dBm.
    pub signal_dbm: Option<i16>,
    /// The rest.
    pub cell: Cell,
}

/// The cell that a modem is in, and the modem itself. Shown as this object of `status --json`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Cell {
    /// GSM, UMTS, LTE, LTE-M or NB-IoT.
    pub technology: Option<String>,
    /// The number of the LTE band.
    pub band: Option<i16>,
    /// Power of the cell's reference signals in dBm.
    pub rsrp_dbm: Option<i16>,
    /// Quality of the cell's reference signals in dB.
    pub rsrq_db: Option<i16>,
    /// Signal to interference and noise in dB.
    pub sinr_db: Option<f64>,
    /// The module's temperature.
    pub temperature_celsius: Option<i16>,
    /// Country, network, area and cell, if they are wanted.
    pub identity: Option<String>,
    /// The modem's serial number, if it is wanted.
    pub imei: Option<String>,
}

/// The questions about one modem's network, and what it has answered.
#[derive(Debug)]
pub(crate) struct Radio {
    wanted: settings::Radio,
    facts: Facts,
    asked: [Asked; QUESTIONS.len()],
    /// Questions to be asked at once, a bit each.
    pressing: u8,
    /// When the next one may be asked in turn.
    next_at: Instant,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// When it was last answered, or refused.
    at: Option<Instant>,
    /// How often in a row it was refused.
    refusals: u8,
}

impl Question {
    /// Its command.
    pub fn command(self) -> Command {
        Command::line(QUESTIONS[self.0])
    }

    pub(crate) fn is_for_registration(self) -> bool {
        self.0 == REGISTRATION
    }
}

impl Cell {
    /// What is measured: its name, its unit, and the value if it is known.
    pub fn measured(&self) -> [(&'static str, &'static str, Option<f64>); 4] {
        [
            ("RSRP", "dBm", self.rsrp_dbm.map(f64::from)),
            ("RSRQ", "dB", self.rsrq_db.map(f64::from)),
            ("SINR", "dB", self.sinr_db),
            ("temperature", "°C", self.temperature_celsius.map(f64::from)),
        ]
    }
}

impl Facts {
    /// Takes the information lines of an answer. Country, area and cell are left out unless `shows_identity`.
    pub fn learn(&mut self, lines: &[String], shows_identity: bool) {
        let mut warmest = None;
        for line in lines {
            if NoService::of(line).is_some() && self.is_registered() {
                // It was, and how it is now has not been reported.
                self.registration = None;
            }
            if let Some(signal) = Signal::of(line) {
                self.signal_dbm = signal.dbm;
            } else if let Some(operator) = Operator::of(line) {
                self.operator = operator.name.map(str::to_owned);
            } else if let Some(registration) = Registration::of(line) {
                self.registration = Some(registration);
            } else if let Some(measured) = Measured::of(line) {
                self.signal_dbm = measured.rssi_dbm;
                self.cell.sinr_db = measured.sinr_db;
                self.measured(measured);
            } else if let Some(ServingCell { measured, band, identity }) = ServingCell::of(line) {
                if measured.technology.is_none() {
                    self.cell.sinr_db = None;
                }
                self.signal_dbm = measured.rssi_dbm.or(self.signal_dbm);
                self.measured(measured);
                self.cell.band = band;
                self.cell.identity = identity.filter(|_| shows_identity);
            } else if let Some(Temperature(celsius)) = Temperature::of(line) {
                warmest = warmest.max(celsius);
                self.cell.temperature_celsius = warmest;
            }
        }
    }

    fn is_registered(&self) -> bool {
        self.registration.is_some_and(Registration::is_registered)
    }

    fn measured(&mut self, measured: Measured) {
        self.cell.technology = measured.technology.map(|technology| technology.to_string());
        self.cell.rsrp_dbm = measured.rsrp_dbm;
        self.cell.rsrq_db = measured.rsrq_db;
        if measured.technology.is_none() {
            (self.cell.band, self.cell.identity) = (None, None);
        }
    }
}

impl Radio {
    pub fn new(wanted: settings::Radio, now: Instant) -> Self {
        let asked = [Asked::default(); QUESTIONS.len()];
        Radio { wanted, facts: Facts::default(), asked, pressing: 0, next_at: now }
    }

    /// What is wanted from now on.
    pub fn configure(&mut self, wanted: settings::Radio) {
        self.wanted = wanted;
        if wanted != settings::Radio::Identity {
            (self.facts.cell.identity, self.facts.cell.imei) = (None, None);
        }
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// When the modem last answered one of the questions.
    pub fn answered_at(&self) -> Option<Instant> {
        self.asked.iter().filter_map(|asked| asked.at).max()
    }

    /// When the oldest of the facts was reported.
    pub fn oldest_at(&self) -> Option<Instant> {
        let has_rich_signal = self.asked[RICH_SIGNAL].is_answered();
        let counts = |(question, asked): &(&str, Asked)| match *question {
            // It stays the same.
            IMEI => false,
            SIGNAL if has_rich_signal => false,
            _ => asked.is_answered(),
        };
        QUESTIONS.into_iter().zip(self.asked).filter(counts).filter_map(|(_, asked)| asked.at).min()
    }

    /// Another modem may be there next: nothing is known. Returns whether answers were awaited at once.
    pub fn forget(&mut self, now: Instant) -> bool {
        let was_pressing = self.pressing != 0;
        // Questions in turn keep their pace, however often the port comes and goes.
        *self = Radio { next_at: self.next_at, ..Radio::new(self.wanted, now) };
        was_pressing
    }

    /// Signal, operator and registration are wanted now, unless they were reported lately. Returns whether answers are
    /// awaited.
    pub fn press(&mut self, now: Instant) -> bool {
        let age = self.asked[NETWORK].iter().filter_map(|asked| asked.at).max();
        let is_fresh = age.is_some_and(|at| now.saturating_duration_since(at) < self.age_max());
        if !is_fresh {
            self.pressing = NETWORK.fold(0, |bits, index| bits | 1 << index);
        }
        self.pressing != 0
    }

    /// The question that is wanted now.
    pub fn pressing(&self) -> Option<Question> {
        (0..QUESTIONS.len()).find(|index| self.pressing & 1 << index != 0).map(Question)
    }

    /// The question whose turn it is: of those that the module has not refused, the one that was answered longest ago.
    pub fn in_turn(&self) -> Option<Question> {
        let is_asked = |index: &usize| {
            self.asked[*index].refusals < REFUSALS_MAX
                && match QUESTIONS[*index] {
                    // The other signal has more.
                    SIGNAL => self.asked[RICH_SIGNAL].refusals >= REFUSALS_MAX,
                    IMEI => self.wanted == settings::Radio::Identity && self.facts.cell.imei.is_none(),
                    _ => true,
                }
        };
        let all = (0..QUESTIONS.len()).filter(|_| self.wanted != settings::Radio::Off).filter(is_asked);
        all.min_by_key(|index| (self.asked[*index].at, QUESTIONS.len() - index)).map(Question)
    }

    /// When [`Radio::in_turn`] may be asked.
    pub fn next_at(&self) -> Option<Instant> {
        self.in_turn().map(|_| self.next_at)
    }

    /// A question leaves.
    pub fn sent(&mut self, now: Instant) {
        self.next_at = now + INTERVAL;
    }

    /// A question was answered. Returns whether it was the last that was wanted at once.
    pub fn answered(
        &mut self,
        question: Question,
        outcome: &CommandOutcome,
        lines: &[String],
        now: Instant,
    ) -> bool {
        let shows_identity = self.wanted == settings::Radio::Identity;
        match *outcome == CommandOutcome::Ok {
            true => self.asked[question.0].refusals = 0,
            false => self.refused(question),
        }
        if QUESTIONS[question.0] == IMEI && shows_identity {
            self.facts.cell.imei = SerialNumber::first(lines).map(|number| number.0.to_owned());
        }
        let was_registered = self.facts.is_registered();
        self.facts.learn(lines, shows_identity);
        self.asked[question.0].at = Some(now);
        if was_registered && self.facts.registration.is_none() {
            // Its turn is next.
            self.asked[REGISTRATION].at = None;
        }
        self.settled(question)
    }

    /// A question has no answer. Returns whether it was the last that was wanted at once.
    pub fn unanswered(&mut self, question: Question) -> bool {
        self.refused(question);
        self.settled(question)
    }

    fn refused(&mut self, question: Question) {
        let refusals = &mut self.asked[question.0].refusals;
        *refusals = refusals.saturating_add(1);
    }

    fn settled(&mut self, question: Question) -> bool {
        let before = self.pressing;
        self.pressing &= !(1 << question.0);
        before != 0 && self.pressing == 0
    }

    /// How old an answer may be that a status shows.
    fn age_max(&self) -> Duration {
        match self.wanted {
            settings::Radio::Off => INTERVAL,
            // Each has its turn before that.
            _ => INTERVAL * (QUESTIONS.len() as u32 + 1),
        }
    }
}

impl Asked {
    fn is_answered(self) -> bool {
        self.at.is_some() && self.refusals == 0
    }
}

/// Whether an answer shows that the modem is in no network.
pub(crate) fn is_without_network(lines: &[String]) -> bool {
    let is_lost = |registration| {
        matches!(registration, Registration::NotRegistered | Registration::Searching | Registration::Denied)
    };
    NoService::first(lines).is_some() || Registration::first(lines).is_some_and(is_lost)
}

/// What is asked (docs/PROTOCOL.md, section 5). The last has its first turn first: it tells most.
const QUESTIONS: [&str; 7] =
    ["AT+QTEMP", IMEI, SIGNAL, "AT+COPS?", "AT+CEREG?", "AT+QENG=\"servingcell\"", "AT+QCSQ"];

const SIGNAL: &str = "AT+CSQ";
const IMEI: &str = "AT+GSN";

/// What every status shows.
const NETWORK: Range<usize> = 2..5;
/// The place of AT+CEREG?
const REGISTRATION: usize = 4;
/// The place of AT+QCSQ.
const RICH_SIGNAL: usize = 6;

/// A question that was refused so often is not asked again.
const REFUSALS_MAX: u8 = 2;

/// How often at most one is asked in turn, and how old what a status shows may be without that.
const INTERVAL: Duration = Duration::from_secs(60);

/// The questions of [`crate::Input::AskNetwork`], for those who ask a modem themselves.
pub fn network_questions() -> impl Iterator<Item = Command> {
    NETWORK.map(|index| Question(index).command())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at::Refusal;
    use crate::test_clock::now;

    const REFUSED: CommandOutcome = CommandOutcome::Refused(Refusal::Plain);

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    /// The commands of so many turns, a minute apart; each is answered with what `answer` returns for it.
    fn turns(
        radio: &mut Radio,
        count: u32,
        start: Instant,
        answer: impl Fn(&str) -> (CommandOutcome, &'static str),
    ) -> Vec<String> {
        let asks = |turn: u32| {
            let now = start + INTERVAL * turn;
            let question = radio.in_turn()?;
            radio.sent(now);
            assert_eq!(radio.next_at(), Some(now + INTERVAL));
            let command = question.command().to_string();
            let (outcome, text) = answer(&command);
            radio.answered(question, &outcome, &lines(text), now);
            Some(command)
        };
        (0..count).map_while(asks).collect()
    }

    #[test]
    fn each_question_has_its_turn_and_what_tells_most_comes_first() {
        let start = now();
        let mut radio = Radio::new(settings::Radio::On, start);
        let asked = turns(&mut radio, 10, start, |_| (CommandOutcome::Ok, ""));
        let round = ["AT+QCSQ", "AT+QENG=\"servingcell\"", "AT+CEREG?", "AT+COPS?", "AT+QTEMP"];
        assert_eq!(asked, [round, round].concat());
        assert_eq!(radio.answered_at(), Some(start + INTERVAL * 9));
    }

    #[test]
    fn without_the_option_nothing_has_a_turn() {
        let radio = Radio::new(settings::Radio::Off, now());
        assert_eq!((radio.in_turn(), radio.next_at(), radio.pressing()), (None, None, None));
    }

    #[test]
    fn what_was_refused_twice_in_a_row_is_not_asked_again() {
        let start = now();
        let mut radio = Radio::new(settings::Radio::On, start);
        let asked = turns(&mut radio, 30, start, |command| match command {
            "AT+QCSQ" | "AT+QTEMP" => (REFUSED, ""),
            _ => (CommandOutcome::Ok, ""),
        });
        let count = |command: &str| asked.iter().filter(|it| *it == command).count();
        assert_eq!((count("AT+QCSQ"), count("AT+QTEMP")), (2, 2), "{asked:?}");
        assert!(count("AT+CSQ") > 4, "it takes the place of the other signal: {asked:?}");
        assert!(!radio.forget(start));
        let asked = turns(&mut radio, 1, start, |_| (REFUSED, ""));
        assert_eq!(asked, ["AT+QCSQ"], "another modem may answer");
    }

    #[test]
    fn no_answer_at_all_counts_as_a_refusal() {
        let start = now();
        let mut radio = Radio::new(settings::Radio::On, start);
        for command in ["AT+QCSQ", "AT+QCSQ", "AT+QENG=\"servingcell\""] {
            let question = radio.in_turn().expect("it has a turn");
            assert_eq!(question.command().to_string(), command);
            radio.unanswered(question);
        }
    }

    #[test]
    fn what_is_pressing_is_asked_once_a_minute_at_most() {
        let start = now();
        let mut radio = Radio::new(settings::Radio::Off, start);
        for (after, presses) in [(0, true), (1, false), (59, false), (60, true)] {
            let now = start + Duration::from_secs(after);
            assert_eq!(radio.press(now), presses, "after {after} s");
            let mut asked = Vec::new();
            while let Some(question) = radio.pressing() {
                asked.push(question.command().to_string());
                let is_last = radio.answered(question, &CommandOutcome::Ok, &[], now);
                assert_eq!(is_last, radio.pressing().is_none());
            }
            let wanted: &[&str] = if presses { &["AT+CSQ", "AT+COPS?", "AT+CEREG?"] } else { &[] };
            assert_eq!(asked, wanted, "after {after} s");
        }
        assert!(radio.press(start + INTERVAL * 2));
        assert!(radio.forget(start) && radio.pressing().is_none(), "who waits learns that nobody answers");
    }

    #[test]
    fn facts_are_what_was_reported_last() {
        let mut facts = Facts::default();
        facts.learn(&lines("+QCSQ: \"LTE\",-57,-85,160,-11"), false);
        let eng = "+QENG: \"servingcell\",\"NOCONN\",\"LTE\",\"FDD\",001,01,A3B4C01,12,1650,3,5,5,1F2A,-87,-12,-59,12,27";
        facts.learn(&lines(eng), false);
        facts.learn(&lines("+QTEMP: \"a\",\"31\"\n+QTEMP: \"b\",\"36\"\n+QTEMP: \"c\",\"33\""), false);
        let cell = Cell {
            technology: Some("LTE".to_owned()),
            band: Some(3),
            rsrp_dbm: Some(-87),
            rsrq_db: Some(-12),
            sinr_db: Some(12.0),
            temperature_celsius: Some(36),
            identity: None,
            imei: None,
        };
        assert_eq!((&facts.cell, facts.signal_dbm), (&cell, Some(-59)));
        facts.learn(&lines(eng), true);
        assert_eq!(facts.cell.identity.as_deref(), Some("001-01-1F2A-A3B4C01"));
        facts.learn(&lines("+QTEMP: 255,255,255"), true);
        for nothing in ["+QENG: \"servingcell\",\"SEARCH\"", "+QCSQ: \"NOSERVICE\""] {
            let mut facts = facts.clone();
            facts.learn(&lines(nothing), true);
            assert_eq!(facts.cell, Cell::default(), "{nothing}");
        }
    }

    #[test]
    fn without_service_no_registration_is_known_and_it_is_asked_next() {
        let start = now();
        let mut radio = Radio::new(settings::Radio::On, start);
        let answer = |command: &str| match command {
            "AT+CEREG?" => (CommandOutcome::Ok, "+CEREG: 0,5"),
            _ => (CommandOutcome::Ok, ""),
        };
        turns(&mut radio, 5, start, answer);
        let later = start + INTERVAL * 5;
        assert_eq!(radio.facts().registration, Some(Registration::Roaming));
        assert_eq!((radio.oldest_at(), radio.answered_at()), (Some(start), Some(later - INTERVAL)));
        let asked = turns(&mut radio, 1, later, |_| (CommandOutcome::Ok, "+QCSQ: \"NOSERVICE\""));
        assert_eq!((asked, radio.facts().registration), (vec!["AT+QCSQ".to_owned()], None));
        let searches = |_: &str| (CommandOutcome::Ok, "+CEREG: 0,2");
        let asked = turns(&mut radio, 2, later + INTERVAL, searches);
        assert_eq!(asked, ["AT+CEREG?", "AT+QENG=\"servingcell\""]);
        assert_eq!(radio.facts().registration, Some(Registration::Searching));
    }

    #[test]
    fn only_words_without_doubt_show_that_there_is_no_network() {
        let shows = |text: &str| is_without_network(&lines(text));
        for text in [
            "+CEREG: 0,0",
            "+CEREG: 0,2",
            "+CEREG: 0,3",
            "+QCSQ: \"NOSERVICE\"",
            "+QENG: \"servingcell\",\"SEARCH\"",
        ] {
            assert!(shows(text), "{text}");
        }
        for text in [
            "",
            "+CEREG: 0,1",
            "+CEREG: 0,5",
            "+CEREG: 0,4",
            "+CEREG: 2,\"1F2A\",\"A3B4C01\",7",
            "+QCSQ: \"NR5G-NSA\",-57",
            "+QENG: \"servingcell\",\"LIMSRV\",\"LTE\"",
            "+QENG: \"SEARCH\"",
            "+COPS: 0",
            "+CSQ: 99,99",
        ] {
            assert!(!shows(text), "{text}");
        }
    }

    #[test]
    fn cell_and_modem_have_their_names_only_where_they_are_wanted() {
        let start = now();
        let answer = |command: &str| match command {
            "AT+GSN" => (CommandOutcome::Ok, "490154203237518"),
            "AT+QENG=\"servingcell\"" => {
                (CommandOutcome::Ok, "+QENG: \"servingcell\",\"NOCONN\",\"GSM\",001,99,DC51,B919,26,50,-,-73")
            }
            _ => (CommandOutcome::Ok, ""),
        };
        let mut radio = Radio::new(settings::Radio::Identity, start);
        let asked = turns(&mut radio, 12, start, answer);
        assert_eq!(asked.iter().filter(|command| *command == "AT+GSN").count(), 1, "it stays the same");
        let named = |radio: &Radio| (radio.facts().cell.identity.clone(), radio.facts().cell.imei.clone());
        let wanted = (Some("001-99-DC51-B919".to_owned()), Some("490154203237518".to_owned()));
        assert_eq!(named(&radio), wanted);
        radio.configure(settings::Radio::On);
        assert_eq!(named(&radio), (None, None));
        let asked = turns(&mut radio, 12, start, answer);
        assert!(!asked.contains(&"AT+GSN".to_owned()), "{asked:?}");
        assert_eq!(named(&radio), (None, None));
    }
}
