//! AT+CMUX: its ranges and defaults are the EC25's, unless the module has others.

use crate::at_port::Reach;
use crate::commands::{Answer, Call, Failure, line, ok};
use crate::modem::Modem;
use crate::mux::state::MuxSettings;
use crate::parser::{Kind, Parameter};
use crate::result_code::cme;

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    Some(match (call.command.name.as_str(), &call.command.kind) {
        ("CMUX", _) if !modem.can_be_multiplexed(call.port) => Err(Failure::Cme(cme::NOT_ALLOWED)),
        ("CMUX", Kind::Test) => line(modem.config.facts.cmux.answer.clone()),
        ("CMUX", Kind::Read) => {
            let inside = match modem.ports[call.port].reach {
                Reach::Channel { line, .. } => modem.mux_of(line),
                Reach::Line | Reach::Mux(_) => None,
            };
            let MuxSettings {
                subset,
                port_speed,
                longest,
                acknowledgement_time,
                retransmissions,
                response_time,
                wake_up_time,
                window,
            } = inside.map_or(modem.config.facts.cmux.defaults, |mux| mux.settings);
            line(format!(
                "+CMUX: 0,{subset},{port_speed},{longest},{acknowledgement_time},{retransmissions},\
                 {response_time},{wake_up_time},{window}"
            ))
        }
        ("CMUX", Kind::Write(list)) => modem.multiplex(call.port, list),
        _ => return None,
    })
}

impl Modem {
    /// `AT+CMUX=<mode>[,<subset>[,<port_speed>[,<N1>[,<T1>[,<N2>[,<T2>[,<T3>[,<k>]]]]]]]]`: the port is multiplexed
    /// when the line of commands has been answered.
    fn multiplex(&mut self, port: usize, list: &[Parameter]) -> Answer {
        if !matches!(self.ports[port].reach, Reach::Line) {
            return Err(Failure::Cme(cme::NOT_ALLOWED));
        }
        let parameters = self.parameters(list);
        parameters.at_most(9)?;
        parameters.number(0, 0..=0)?;
        let own = self.config.facts.cmux.defaults;
        let value = |index, range, own| Ok(parameters.optional_number(index, range)?.unwrap_or(own));
        let value =
            |index, range, own| value(index, range, own).map_err(|_: crate::parser::Invalid| Failure::Error);
        self.ports[port].next_mux = Some(MuxSettings {
            subset: value(1, 0..=2, own.subset)?,
            port_speed: value(2, 1..=8, own.port_speed)?,
            longest: value(3, 1..=self.config.facts.cmux.longest, own.longest)?,
            acknowledgement_time: value(4, 1..=255, own.acknowledgement_time)?,
            retransmissions: value(5, 0..=100, own.retransmissions)?,
            response_time: value(6, 2..=255, own.response_time)?,
            wake_up_time: value(7, 1..=255, own.wake_up_time)?,
            window: value(8, 1..=7, own.window)?,
        });
        ok()
    }
}
