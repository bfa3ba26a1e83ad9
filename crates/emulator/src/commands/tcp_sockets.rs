//! Plain TCP as far as a reachability test and a transparent stream need it: open, state, close. Of MQTT, whether a client is connected.

use std::time::Duration;

use crate::commands::sockets::Open;
use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::modem::Modem;
use crate::parser::{Kind, Parameter};
use crate::result_code::socket as code;
use crate::socket::{AccessMode, Service};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let contexts = modem.config.family.pdp_contexts();
    let answer = match (call.command.name.as_str(), &call.command.kind) {
        ("QIOPEN", Kind::Test) => line(format!(
            "+QIOPEN: (1-{contexts}),(0-11),\"TCP\",<IP_address>/<domain_name>,<remote_port>,<local_port>,(0-2)"
        )),
        ("QIOPEN", Kind::Write(list)) => modem.tcp_open(list, call),
        ("QICLOSE", Kind::Test) => line("+QICLOSE: (0-11),(0-65535)"),
        ("QICLOSE", Kind::Write(list)) => modem.tcp_close(list, call),
        ("QISTATE", Kind::Test) => ok(),
        ("QISTATE", Kind::Read | Kind::Execute) => modem.tcp_states(None),
        ("QISTATE", Kind::Write(list)) => modem.tcp_state(list),
        // The MQTT client of the other program is connected.
        ("QMTCONN", Kind::Read) if modem.config.others_speak_every.is_some() => line("+QMTCONN: 0,3"),
        ("QMTCONN", Kind::Read) => ok(),
        _ => return None,
    };
    Some(answer.map_err(|failure| match failure {
        Failure::Error => Failure::Socket(code::INVALID_PARAMETER),
        other => other,
    }))
}

impl Modem {
    /// `AT+QIOPEN=<PDP>,<connectID>,"TCP","<host>",<port>[,<local port>[,<mode>]]`
    fn tcp_open(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(7)?;
        let host = parameters.text(3)?;
        if host.is_empty() || parameters.text(2)? != "TCP" {
            return Err(Failure::Error);
        }
        parameters.optional_number(5, 0..=65_535)?;
        let access = AccessMode::from_number(parameters.optional_small(6, 0..=2)?.unwrap_or(0));
        let open = Open {
            service: Service::Tcp,
            pdp_context: parameters.small(0, 1..=self.config.family.pdp_contexts())?,
            ssl_context: NO_SSL_CONTEXT,
            id: parameters.small(1, 0..=11)?,
            host,
            port: u16::try_from(parameters.number(4, 1..=65_535)?).map_err(|_| Failure::Error)?,
            access: access.ok_or(Failure::Error)?,
        };
        self.open(&open, call)
    }

    fn tcp_close(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let id = parameters.small(0, 0..=11)?;
        let seconds = parameters.optional_number(1, 0..=65_535)?.unwrap_or(10);
        match self.socket(Service::Tcp, id).map(|socket| socket.connection) {
            Some(connection) => self.close(connection, Duration::from_secs(seconds.into()), call),
            // QICLOSE of a free number is harmless on real modules.
            None => ok(),
        }
    }

    /// `AT+QISTATE=0,<PDP>` or `AT+QISTATE=1,<connectID>`
    fn tcp_state(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        match parameters.small(0, 0..=1)? {
            0 => {
                let context = parameters.small(1, 1..=self.config.family.pdp_contexts())?;
                self.tcp_states(Some(context))
            }
            _ => {
                let id = parameters.small(1, 0..=11)?;
                let socket = self.socket(Service::Tcp, id);
                let lines = socket.map(|socket| format!("+QISTATE: {}", self.state_line(socket)));
                Ok(CommandOutcome::Done(lines.into_iter().collect()))
            }
        }
    }

    fn tcp_states(&self, context: Option<u8>) -> Answer {
        let sockets = self.sockets(Service::Tcp).into_iter();
        let listed = sockets.filter(|socket| context.is_none_or(|context| socket.pdp_context == context));
        let lines = listed.map(|socket| format!("+QISTATE: {}", self.state_line(socket)));
        Ok(CommandOutcome::Done(lines.collect()))
    }
}

/// A number that no SSL context has.
const NO_SSL_CONTEXT: u8 = u8::MAX;
