//! The set-up, step by step: what is asked, and where each answer leads.

use super::found::Reports;
use super::*;
use crate::failure::Cut;
use crate::settings::Wait;
use crate::test_clock::now;

/// A set-up without a modem: answers are given to it by hand.
struct Bench {
    setup: SetUp,
    settings: settings::Modem,
    effects: Vec<SetupEffect>,
    now: Instant,
}

impl Bench {
    fn new(settings: settings::Modem) -> Self {
        Bench { setup: SetUp::new(true, now()), settings, effects: Vec::new(), now: now() }
    }

    /// At this step, without the steps before it.
    fn at(step: SetupStep) -> Self {
        let mut bench = Bench::new(settings::Modem::default());
        bench.setup.go(step);
        bench
    }

    /// The same with an access point, servers for names and time, and a context with a file that is not stored yet.
    fn configured_at(step: SetupStep) -> Self {
        let text = |text: &str| crate::at::AtText::new(text).expect("it can stand in a command");
        let mut settings = settings::Modem { ntp: Some(text("time.test")), ..settings::Modem::default() };
        settings.pdp.apn = Some(text("internet"));
        settings.pdp.dns = vec![std::net::IpAddr::from([192, 0, 2, 53])];
        let mut bench = Bench::new(settings);
        bench.has_a_context_with_a_file();
        bench.setup.go(step);
        bench
    }

    fn with<T>(&mut self, what: impl FnOnce(&mut SetUp, &Given<'_>, Instant) -> T) -> T {
        let given = Given {
            settings: &self.settings,
            tunnels: &[],
            port_name: Some("uart1"),
            is_open: true,
            has_commander: true,
            is_asking: false,
        };
        let result = what(&mut self.setup, &given, self.now);
        while let Some(effect) = self.setup.poll_effect() {
            if let SetupEffect::MakeContexts = effect {
                self.setup.contexts_made(&given, Ok(()), self.now);
            }
            self.effects.push(effect);
        }
        result
    }

    /// The command that is due.
    fn asks(&mut self) -> Option<String> {
        self.with(|setup, given, now| setup.command(given, now)).map(|command| command.to_string())
    }

    /// The modem's answer to it: some lines and a result.
    fn answers(&mut self, text: &str) -> &mut Self {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let outcome = match lines.pop().as_deref() {
            Some("OK") => CommandOutcome::Ok,
            Some("ERROR") => CommandOutcome::Refused(Refusal::Plain),
            Some(other) => {
                let reason = other.strip_prefix("+CME ERROR: ").unwrap_or(other).to_owned();
                CommandOutcome::Refused(Refusal::Cme(crate::at::CmeError(reason)))
            }
            None => panic!("an answer has a result"),
        };
        let answer = channel::Answer { lines, ..channel::Answer::default() };
        self.with(|setup, given, now| setup.answered(given, outcome, answer, now));
        self
    }

    /// It asks something, and the modem answers, as often as there are answers. Returns the step that they lead to.
    fn led_by(mut self, answers: &[&str]) -> SetupStep {
        for answer in answers {
            assert!(self.asks().is_some(), "{:?} asks something", self.setup.step());
            self.answers(answer);
        }
        self.setup.step()
    }

    /// One context, whose only file has been compared. Returns the name and size of the file.
    fn has_a_context_with_a_file(&mut self) -> (crate::at::AtText, usize) {
        let pem = settings::Pem { source: "root.pem".into(), bytes: b"the root\n".to_vec() };
        let tls = settings::Tls::new(settings::Authentication::Authorities(vec![pem]));
        let id = SslContextId::new(0).expect("it is one");
        let (limit, profile) = (std::time::Duration::from_secs(60), Profile::unknown());
        let mut context = ssl_context::SslContext::new(
            id,
            settings::Scheme::Tls,
            &tls,
            limit,
            &profile,
            ssl_context::CaStorage::Bundle,
        )
        .expect("the module has the keys");
        context.files_compared();
        let (name, bytes) = (context.files[0].name.clone(), context.files[0].content.len());
        self.setup.contexts_mut().push(context);
        (name, bytes)
    }

    fn gave_up(&self) -> Option<&str> {
        self.effects.iter().find_map(|effect| match effect {
            SetupEffect::GaveUp(failure) => Some(failure.message.as_str()),
            _ => None,
        })
    }
}

fn pin() -> settings::Secret {
    settings::Secret(crate::at::AtText::new("1234").expect("it can stand in a command"))
}

#[test]
fn each_answer_leads_to_the_step_that_follows_from_it() {
    let rows: [(SetupStep, &str, SetupStep); 38] = [
        (
            SetupStep::Identity,
            "Quectel\nEC20F\nRevision: EC20CEFAGR06A05M4G\nOK",
            SetupStep::Keys { alone: None },
        ),
        (SetupStep::Identity, "OK", SetupStep::Model),
        (SetupStep::Model, "ERROR", SetupStep::Keys { alone: None }),
        (SetupStep::Keys { alone: None }, "ERROR", SetupStep::Keys { alone: Some(0) }),
        (SetupStep::Keys { alone: Some(0) }, "ERROR", SetupStep::Keys { alone: Some(1) }),
        (SetupStep::Keys { alone: None }, "OK", SetupStep::Shared { alone: None }),
        (SetupStep::Shared { alone: None }, "ERROR", SetupStep::Shared { alone: Some(0) }),
        (SetupStep::Shared { alone: None }, "OK", SetupStep::UrcPort { all_refused: false }),
        (SetupStep::Glance, "ERROR", SetupStep::Sim),
        (SetupStep::Glance, "+CPIN: READY\n+CEREG: 0,2\nOK", SetupStep::Sim),
        (SetupStep::Glance, "+CPIN: READY\n+CEREG: 0,1\n+QIACT: 1,1,1,\"10.0.0.1\"\nOK", SetupStep::Messages),
        (SetupStep::Glance, "+CPIN: READY\n+CEREG: 0,1\nOK", SetupStep::Activate { after_tear_down: false }),
        (SetupStep::Sim, "+CPIN: READY\nOK", SetupStep::Registration(0)),
        (SetupStep::Sim, "ERROR", SetupStep::Registration(0)),
        (SetupStep::Registration(0), "+CEREG: 0,5\nOK", SetupStep::Leftovers),
        (SetupStep::Registration(0), "+CEREG: 0,2\nOK", SetupStep::Registration(1)),
        (SetupStep::Leftovers, "OK", SetupStep::PdpState),
        (SetupStep::PdpState, "OK", SetupStep::Activate { after_tear_down: false }),
        (SetupStep::Apn { after_tear_down: false }, "OK", SetupStep::Activate { after_tear_down: false }),
        (SetupStep::Activate { after_tear_down: false }, "OK", SetupStep::Address),
        (SetupStep::Activate { after_tear_down: false }, "ERROR", SetupStep::TearDown),
        // Deactivating it once is enough.
        (SetupStep::Activate { after_tear_down: true }, "ERROR", SetupStep::ActivationRefused),
        (SetupStep::Address, "ERROR", SetupStep::OtherAddress),
        (SetupStep::Address, "+QIACT: 1,1,1,\"10.0.0.1\"\nOK", SetupStep::Messages),
        (SetupStep::OtherAddress, "OK", SetupStep::Messages),
        (SetupStep::UrcPort { all_refused: false }, "OK", SetupStep::DataFormat { alone: None }),
        (SetupStep::UrcPort { all_refused: false }, "ERROR", SetupStep::DataFormat { alone: None }),
        (SetupStep::DataFormat { alone: None }, "OK", SetupStep::Glance),
        (SetupStep::DataFormat { alone: None }, "ERROR", SetupStep::DataFormat { alone: Some(0) }),
        (SetupStep::DataFormat { alone: Some(0) }, "ERROR", SetupStep::DataFormat { alone: Some(1) }),
        (SetupStep::DataFormat { alone: Some(3) }, "ERROR", SetupStep::Glance),
        (SetupStep::ActivationRefused, "+QIGETERROR: 561,\"open PDP context failed\"\nOK", SetupStep::Failed),
        (SetupStep::ActivationRefused, "ERROR", SetupStep::Failed),
        (SetupStep::TearDown, "OK", SetupStep::Activate { after_tear_down: true }),
        (SetupStep::Apn { after_tear_down: false }, "ERROR", SetupStep::Failed),
        (SetupStep::Messages, "+CNMI: 2,2,0,0,0\nOK", SetupStep::KeepMessages(Reports::Kept)),
        // Nothing is configured for what would come between.
        (SetupStep::Messages, "+CNMI: 2,1,0,0,0\nOK", SetupStep::Contexts),
        (SetupStep::Messages, "ERROR", SetupStep::Contexts),
    ];
    for (from, answer, to) in rows {
        assert_eq!(Bench::at(from).led_by(&[answer]), to, "{from:?} after {answer:?}");
    }
}

#[test]
fn each_answer_leads_to_what_is_configured() {
    let rows = [
        (SetupStep::PdpState, "+QIACT: 1,1,1,\"10.0.0.1\"\nOK", SetupStep::ActiveApn),
        (SetupStep::PdpState, "OK", SetupStep::Apn { after_tear_down: false }),
        (SetupStep::ActiveApn, "+QICSGP: 1,\"other\",\"\",\"\",0\nOK", SetupStep::TearDown),
        (SetupStep::ActiveApn, "+QICSGP: 1,\"Internet\",\"\",\"\",0\nOK", SetupStep::Messages),
        (SetupStep::ActiveApn, "ERROR", SetupStep::Messages),
        (SetupStep::TearDown, "ERROR", SetupStep::Apn { after_tear_down: true }),
        (SetupStep::Apn { after_tear_down: true }, "OK", SetupStep::Activate { after_tear_down: true }),
        (SetupStep::Messages, "+CNMI: 2,1,0,0,0\nOK", SetupStep::Dns),
        (SetupStep::Mqtt, "+QMTCONN: 0,3\nOK", SetupStep::Dns),
        (SetupStep::Mqtt, "ERROR", SetupStep::Dns),
        (SetupStep::Dns, "OK", SetupStep::Ntp),
        (SetupStep::Dns, "ERROR", SetupStep::Ntp),
        // Its result comes later, as a URC.
        (SetupStep::Ntp, "OK", SetupStep::Ntp),
        (SetupStep::Ntp, "ERROR", SetupStep::Clock),
        (SetupStep::Clock, "+CCLK: \"26/11/28,12:00:00+00\"\nOK", SetupStep::ListFiles),
        (SetupStep::Clock, "+CCLK: \"80/01/06,00:00:00+00\"\nOK", SetupStep::SetClock),
        (SetupStep::Clock, "ERROR", SetupStep::SetClock),
        (SetupStep::LookAtClock, "+CCLK: \"26/11/28,12:00:00+00\"\nOK", SetupStep::ListFiles),
        (SetupStep::LookAtFormat { alone: None }, "ERROR", SetupStep::LookAtFormat { alone: Some(0) }),
        (
            SetupStep::LookAtFormat { alone: None },
            "+QICFG: \"viewmode\",1\nOK",
            SetupStep::DataFormat { alone: None },
        ),
        (
            SetupStep::LookAtFormat { alone: None },
            "+QICFG: \"viewmode\",0\n+QICFG: \"dataformat\",0,0\n+QICFG: \"sendinfo\",0\n+QICFG: \"recvind\",0\nOK",
            SetupStep::Up,
        ),
        (SetupStep::SetClock, "OK", SetupStep::ListFiles),
        (SetupStep::SetClock, "ERROR", SetupStep::ListFiles),
        (SetupStep::ListFiles, "OK", SetupStep::Space),
        (SetupStep::ListFiles, "ERROR", SetupStep::Space),
    ];
    for (from, answer, to) in rows {
        let mut bench = Bench::configured_at(from);
        bench.setup.set_host_clock(HOST_SECONDS, bench.now);
        assert_eq!(bench.led_by(&[answer]), to, "{from:?} after {answer:?}");
    }
}

/// 28 November 2026, 12:00 UTC, in seconds since 1970.
const HOST_SECONDS: i64 = 1_795_867_200;

#[test]
fn each_answer_about_a_file_leads_to_what_it_still_lacks() {
    let listed = |bytes: usize| format!("+QFLST: \"UFS:NAME\",{bytes}\nOK");
    let rows: [(&[&str], SetupStep); 9] = [
        (&["OK"], SetupStep::Space),
        (&["OK", "+QFLDS: 8,286720\nOK"], SetupStep::Failed),
        (&["OK", "+QFLDS: 180224,286720\nOK"], SetupStep::Upload),
        // Where the room is not reported, the upload shows whether there is enough.
        (&["OK", "ERROR"], SetupStep::Upload),
        (&["OK", "ERROR", "+CME ERROR: 407"], SetupStep::DeleteFile),
        (&["OK", "ERROR", "+CME ERROR: 407", "OK"], SetupStep::Space),
        (&["OK", "ERROR", "+CME ERROR: 407", "ERROR"], SetupStep::Failed),
        // What was stored instead is deleted, and the attempt has failed.
        (&["OK", "ERROR", "+QFUPL: 9,0\nOK"], SetupStep::DeleteFile),
        (&["OK", "ERROR", "+QFUPL: 9,0\nOK", "OK"], SetupStep::Failed),
    ];
    for (answers, to) in rows {
        assert_eq!(Bench::configured_at(SetupStep::ListFiles).led_by(answers), to, "after {answers:?}");
    }
    for (bytes, to) in [(9, SetupStep::Compare), (8, SetupStep::DeleteFile)] {
        let mut bench = Bench::configured_at(SetupStep::ListFiles);
        let name = bench.setup.contexts()[0].files[0].name.clone();
        bench.asks();
        bench.answers(&listed(bytes).replace("NAME", name.as_str()));
        assert_eq!(bench.setup.step(), to, "{bytes} bytes");
    }
}

#[test]
fn messages_that_cannot_be_kept_are_dropped_or_left_as_they_are() {
    let rows: [(&[&str], SetupStep); 4] = [
        (&["+CNMI: 2,2,0,1,0\nOK", "OK"], SetupStep::Dns),
        (&["+CNMI: 2,2,0,1,0\nOK", "ERROR"], SetupStep::KeepMessages(Reports::Dropped)),
        (&["+CNMI: 2,2,0,1,0\nOK", "ERROR", "OK"], SetupStep::Dns),
        (&["+CNMI: 2,2,0,1,0\nOK", "ERROR", "ERROR"], SetupStep::Dns),
    ];
    for (answers, to) in rows {
        assert_eq!(Bench::configured_at(SetupStep::Messages).led_by(answers), to, "after {answers:?}");
    }
}

#[test]
fn an_answer_to_another_step_than_the_present_one_changes_nothing() {
    let mut bench = Bench::at(SetupStep::Registration(0));
    bench.asks();
    bench.setup.lost(SetupStep::Sim, false, bench.now);
    bench.answers("+CEREG: 0,1\nOK");
    assert_eq!(bench.setup.step(), SetupStep::Sim);
}

#[test]
fn a_pin_that_was_refused_is_told_to_be_forgotten_and_never_asked_for_again() {
    let mut bench = Bench::at(SetupStep::EnterPin { attempts: Some(3) });
    bench.settings.sim_pin = Some(pin());
    assert_eq!(bench.asks().as_deref(), Some("AT+CPIN=***"), "it is not shown");
    bench.answers("+CME ERROR: incorrect password");
    assert!(bench.effects.iter().any(|effect| matches!(effect, SetupEffect::ForgetPin)));
    assert!(bench.gave_up().is_some_and(|why| why.contains("refused the PIN")), "{:?}", bench.effects);
}

#[test]
fn the_last_attempt_for_the_pin_is_not_used() {
    let enter = |attempts| SetupStep::EnterPin { attempts: Some(attempts) };
    for (attempts, next) in [("3", enter(3)), ("2", enter(2)), ("1", SetupStep::Failed)] {
        let mut bench = Bench::at(SetupStep::PinAttempts(0));
        bench.settings.sim_pin = Some(pin());
        bench.asks();
        bench.answers(&format!("+QPINC: \"SC\",{attempts},10\nOK"));
        assert_eq!(bench.setup.step(), next, "{attempts} left");
    }
}

#[test]
fn a_pin_whose_answer_is_lost_is_entered_again_only_where_no_attempt_was_used() {
    for (before, after, is_entered_again) in [
        ("+QPINC: \"SC\",3,10\nOK", "+QPINC: \"SC\",3,10\nOK", true),
        ("+QPINC: \"SC\",3,10\nOK", "+QPINC: \"SC\",2,10\nOK", false),
        ("+QPINC: \"SC\",2,10\nOK", "+QPINC: \"SC\",1,10\nOK", false),
        // A module that does not count them.
        ("ERROR", "ERROR", false),
        ("+QPINC: \"SC\",3,10\nOK", "ERROR", false),
        ("ERROR", "+QPINC: \"SC\",3,10\nOK", false),
    ] {
        for cut in [Cut::Silent, Cut::PortLost, Cut::Rebooted] {
            let name = format!("{before:?}, {cut}, {after:?}");
            let mut bench = Bench::at(SetupStep::Sim);
            bench.settings.sim_pin = Some(pin());
            for counts in [before, after] {
                assert_eq!(bench.asks().as_deref(), Some("AT+CPIN?"), "{name}");
                bench.answers("+CPIN: SIM PIN\nOK");
                while let SetupStep::PinAttempts(_) = bench.setup.step() {
                    bench.asks();
                    bench.answers(counts);
                }
                if let SetupStep::EnterPin { .. } = bench.setup.step() {
                    bench.asks();
                    bench.with(|setup, given, now| setup.not_answered(given, cut, now));
                    if cut != Cut::Silent {
                        bench.setup.lost(SetupStep::Sim, false, bench.now);
                    }
                }
            }
            let forgets = bench.effects.iter().any(|effect| matches!(effect, SetupEffect::ForgetPin));
            assert_eq!(forgets, !is_entered_again, "{name}");
            assert_eq!(bench.setup.step() == SetupStep::Sim, is_entered_again, "{name}");
        }
    }
}

#[test]
fn a_pin_whose_answer_is_lost_was_right_if_the_sim_is_ready_after_it() {
    for (step, answer) in [
        (SetupStep::Sim, "+CPIN: READY\nOK"),
        (SetupStep::Glance, "+CPIN: READY\n+CEREG: 0,1\n+QIACT: 1,1,1,\"10.0.0.1\"\nOK"),
    ] {
        let mut bench = Bench::at(SetupStep::EnterPin { attempts: None });
        bench.settings.sim_pin = Some(pin());
        bench.asks();
        bench.setup.go(step);
        bench.asks();
        bench.answers(answer);
        // The modem reboots later, and wants it again.
        bench.setup.go(SetupStep::Sim);
        let asked = ["+CPIN: SIM PIN\nOK", "ERROR", "ERROR"];
        assert_eq!(bench.led_by(&asked), SetupStep::EnterPin { attempts: None }, "{step:?}");
    }
}

#[test]
fn failed_attempts_are_repeated_after_a_pause_until_the_limit() {
    let mut bench = Bench::new(settings::Modem {
        wait: Wait::Limited { time: None, retries: Some(1) },
        ..settings::Modem::default()
    });
    let failure = || Failure::new(Kind::NoDataSession, "no data session");
    bench.with(|setup, given, now| setup.failed(given, failure(), false, now));
    assert_eq!(bench.asks(), None, "not before the pause is over");
    assert!(bench.gave_up().is_none());
    bench.now = bench.setup.deadline().expect("it is tried again");
    assert_eq!(bench.asks().as_deref(), Some("ATI"));
    bench.with(|setup, given, now| setup.failed(given, failure(), false, now));
    assert_eq!(bench.gave_up(), Some("no data session"));
}

#[test]
fn an_answer_ends_the_pause_after_silence_and_no_other() {
    for (kind, is_over) in [(Kind::ModemSilent, true), (Kind::NoDataSession, false)] {
        let mut bench = Bench::at(SetupStep::Glance);
        bench.settings.wait = Wait::Forever;
        bench.with(|setup, given, now| setup.failed(given, Failure::new(kind, "why"), false, now));
        assert_eq!(bench.asks(), None, "{kind:?}: it waits");
        bench.setup.modem_answers();
        assert_eq!(bench.asks().is_some(), is_over, "{kind:?}");
    }
}

#[test]
fn a_command_that_is_never_answered_is_left_out_after_three_tries_if_it_can_be() {
    let mut bench = Bench::at(SetupStep::Messages);
    for _ in 0..UNANSWERED_MAX {
        assert_eq!(bench.asks().as_deref(), Some("AT+CNMI?"));
        bench.with(|setup, given, now| setup.not_answered(given, Cut::Silent, now));
    }
    assert_ne!(bench.setup.step(), SetupStep::Messages);
    let mut needed = Bench::at(SetupStep::Activate { after_tear_down: false });
    needed.asks();
    needed.with(|setup, given, now| setup.not_answered(given, Cut::Silent, now));
    assert_eq!(needed.setup.step(), SetupStep::Failed);
}

/// A port that is lost would have answered no other command either.
#[test]
fn a_question_that_is_lost_with_its_port_is_asked_again_each_time() {
    let mut bench = Bench::at(SetupStep::Messages);
    for _ in 0..=UNANSWERED_MAX {
        assert_eq!(bench.asks().as_deref(), Some("AT+CNMI?"));
        bench.with(|setup, given, now| setup.not_answered(given, Cut::PortLost, now));
        assert_eq!(bench.setup.step(), SetupStep::Messages);
    }
}

#[test]
fn at_the_end_what_was_changed_is_put_back_and_a_session_of_ours_deactivated() {
    let mut bench = Bench::at(SetupStep::Shared { alone: None });
    bench.asks();
    bench.answers("+QICFG: \"viewmode\",1\nOK");
    bench.setup.go(SetupStep::DataFormat { alone: None });
    bench.asks();
    bench.answers("OK");
    bench.setup.go(SetupStep::Activate { after_tear_down: false });
    bench.asks();
    bench.answers("OK");
    bench.with(|setup, given, _| setup.release(given));
    assert_eq!(bench.asks().as_deref(), Some("AT+QICFG=\"viewmode\",1"));
    bench.answers("OK");
    assert_eq!(bench.asks().as_deref(), Some("AT+QIDEACT=1"));
    bench.answers("OK");
    assert!(bench.effects.iter().any(|effect| matches!(effect, SetupEffect::Released)));
    assert_eq!(bench.asks(), None);
}

#[test]
fn a_session_that_is_lost_before_the_module_was_known_begins_from_the_start() {
    for (step, then) in [
        (SetupStep::Keys { alone: None }, SetupStep::Down),
        (SetupStep::Failed, SetupStep::Down),
        (SetupStep::Registration(0), SetupStep::Sim),
        (SetupStep::Up, SetupStep::Sim),
    ] {
        let mut bench = Bench::at(step);
        bench.setup.lost(SetupStep::Sim, false, bench.now);
        assert_eq!(bench.setup.step(), then, "from {step:?}");
        let mut changed = Bench::at(step);
        changed.setup.lost(SetupStep::Sim, true, changed.now);
        assert_eq!(changed.setup.step(), SetupStep::Down, "with new settings, from {step:?}");
    }
}

#[test]
fn a_context_whose_file_is_found_to_be_another_is_not_used_until_the_right_one_is_stored() {
    let mut bench = Bench::at(SetupStep::ListFiles);
    let (name, bytes) = bench.has_a_context_with_a_file();
    let stands = |bench: &Bench| bench.setup.contexts()[0].files_stand();
    bench.asks();
    bench.answers(&format!("+QFLST: \"UFS:{name}\",{bytes}\nOK"));
    assert_eq!((bench.setup.step(), stands(&bench)), (SetupStep::Compare, true));
    bench.setup.compared(Some(&CommandOutcome::Ok), b"another\n\n");
    assert_eq!((bench.setup.step(), stands(&bench)), (SetupStep::DeleteFile, false));
    bench.setup.go(SetupStep::ListFiles);
    bench.answers("OK");
    assert_eq!((bench.setup.step(), stands(&bench)), (SetupStep::Space, false), "nor if it is missing");
}

/// The module took what a resync sent for the content of an upload that had been given up, and stored that over the file
/// that another port had stored meanwhile.
#[test]
fn a_late_upload_that_was_not_waited_for_any_longer_has_the_files_looked_at_again() {
    let mut bench = Bench::at(SetupStep::ListFiles);
    let (name, bytes) = bench.has_a_context_with_a_file();
    let stands = |bench: &Bench| bench.setup.contexts()[0].files_stand();
    let listed = format!("+QFLST: \"UFS:{name}\",{bytes}\nOK");
    let upload = Command::Upload { name, content: b"the root\n".to_vec() };
    bench.setup.file_change_given_up(1, &upload);
    bench.asks();
    bench.answers(&listed);
    assert_eq!(bench.setup.step(), SetupStep::ListFiles, "it is waited for");
    bench.now += std::time::Duration::from_secs(60);
    assert_eq!(bench.asks().as_deref(), Some("AT+QFLST=\"*\""));
    bench.answers(&listed);
    bench.setup.compared(Some(&CommandOutcome::Ok), b"the root\n");
    assert_eq!((bench.setup.step(), stands(&bench)), (SetupStep::Contexts, true));
    bench.setup.settle_late_changes(0b01);
    assert!(stands(&bench), "another port answers");
    bench.setup.settle_late_changes(0b10);
    assert!(!stands(&bench));
    bench.setup.go(SetupStep::ListFiles);
    bench.asks();
    bench.answers(&listed);
    assert_eq!(bench.setup.step(), SetupStep::Compare);
}
