//! By which of our ports the modem's URCs come, which copy of one counts, and what the modem calls each port.
//!
//! URCs leave by one port, and on the wrong one no `recv` and no `closed` ever arrives. The module itself
//! reports its name for a port: AT+QSSLSTATE lists the one that a socket was opened by. Until it has, the
//! name is guessed from what the port is, or URCs leave by all ports.

use std::time::{Duration, Instant};

use super::{Channel, Cut, Modem, Port, Socket, Witness};
use crate::at::answers::{Answer, SocketState, SocketStatus};
use crate::at::{Command, CommandSet, IdSet, SocketId, Urc};
use crate::settings::Mode;
use crate::socket::listening::{Listening, Takeover};

/// How URCs come to us.
#[derive(Debug, Default)]
pub(super) struct Routing {
    /// By which ports they were set to leave.
    urc_port: UrcPort,
    /// What each of our ports is called, as far as the module was asked.
    names: Vec<Name>,
    /// The name of the port that URCs were set to leave by.
    told: String,
    /// The port by which a URC of one of our sockets has come as expected, since the session began: URCs reach us.
    proven_by: Option<usize>,
    /// Which port the module chooses for those of a socket.
    choice: Choice,
    /// Settings that were given up on a channel: they may still be made.
    late: Vec<(usize, Command)>,
}

/// By which ports URCs were set to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UrcPort {
    /// Not known yet.
    #[default]
    Unknown,
    /// By all ports, in copies. Those of one port count.
    All {
        /// The port.
        counts: usize,
    },
    /// By this one alone.
    One(usize),
}

/// Which port the module chooses for the URCs of a socket, as its URCs have shown: some accept AT+QURCCFG and do not
/// follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice {
    /// Nothing has shown it yet.
    #[default]
    Unknown,
    /// The one that it was set to.
    AsTold,
    /// The one that the socket was opened by.
    Opener,
    /// All of them: each port carries a copy.
    Every,
}

/// The module's name for a port of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Name {
    /// It was not asked.
    #[default]
    Unasked,
    /// It was asked, and has not answered.
    Asked,
    /// This.
    Is(String),
}

/// A URC of a socket, as far as it matters by which port it has come.
#[derive(Clone, Copy, Debug, Default)]
struct SocketUrc {
    /// The bytes that are pushed with it.
    pushed: usize,
    /// It announces bytes that are to be read.
    is_announcement: bool,
    /// The port that the socket was opened by.
    opener: Option<usize>,
    /// What this port pushes may be for the number's previous connection.
    is_stale: bool,
}

/// What a URC of a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// It counts.
    Counts,
    /// A copy of one that comes by another port.
    Copy,
    /// It shows that bytes are missing.
    Missed,
}

impl Routing {
    /// For this many ports.
    pub(super) fn new(ports: usize) -> Self {
        Routing { names: vec![Name::Unasked; ports], ..Routing::default() }
    }

    /// The port was opened: it may be another one of the modem's.
    pub(super) fn port_opened(&mut self, port: usize) {
        self.names[port] = Name::Unasked;
        self.proven_by = None;
        self.choice = Choice::Unknown;
    }

    /// This one is closed, and `another` is open, if any is.
    pub(super) fn port_closed(&mut self, port: usize, another: Option<usize>) {
        if self.urc_port == (UrcPort::All { counts: port })
            && let Some(counts) = another
        {
            self.urc_port = UrcPort::All { counts };
        }
    }

    /// The module has no such setting.
    pub(super) fn leave_anywhere(&mut self) {
        self.urc_port = UrcPort::Unknown;
    }

    /// URCs have been set to leave by the port of this name, which is this one; or by all, of which this one counts.
    pub(super) fn leave_by(&mut self, port: usize, name: &str) {
        self.urc_port = if name == "all" { UrcPort::All { counts: port } } else { UrcPort::One(port) };
        self.told(name);
    }

    /// URCs have been set to leave by the line of this name, which several channels share.
    pub(super) fn leave_by_first_channel(&mut self, name: &str) {
        self.urc_port = UrcPort::One(0);
        self.told(name);
    }

    fn told(&mut self, name: &str) {
        name.clone_into(&mut self.told);
        self.proven_by = None;
    }

    /// A setting was given up on this channel. The module may still make it, after one that we have made since.
    pub(super) fn given_up(&mut self, port: usize, command: &Command) {
        self.late.retain(|(late, _)| *late != port);
        self.late.push((port, command.clone()));
    }

    /// These channels, a bit each, answer again: what was given up on them has been carried out. Returns whether that was
    /// another setting than the one that we have made since, which is `made`, if URCs leave by one port alone.
    fn are_late(&mut self, answering: u32, made: Option<&Command>) -> bool {
        let has_come = |port: usize| answering & (1 << port) != 0;
        let is_other = self
            .late
            .iter()
            .any(|(port, command)| has_come(*port) && made.is_some_and(|made| made != command));
        self.late.retain(|(port, _)| !has_come(*port));
        is_other && !self.told.is_empty()
    }

    /// The module may have another setting: it is made again.
    fn forget(&mut self) {
        self.proven_by = None;
        if let UrcPort::One(_) = self.urc_port {
            self.told.clear();
        }
    }

    /// Whether bytes of this socket that come by another port than the ones before are no copies: the setting has been
    /// changed, by another program or by a command of ours that was carried out late.
    fn is_moved(&self, listening: &Listening, port: usize, now: Instant) -> bool {
        if matches!(self.urc_port, UrcPort::All { .. }) || listening.bytes() == 0 {
            return false;
        }
        // As a stream it could carry none. Whether these are copies shows when the others do not come.
        self.choice != Choice::Every && !listening.lacks(port) && listening.are_late_copies(port, now)
    }

    /// Another port has carried what this one has not: the module does not choose as it seemed to. The setting may have been
    /// lost, too.
    pub(super) fn bytes_are_missing(&mut self) {
        if matches!(self.choice, Choice::Every | Choice::Opener) {
            self.choice = Choice::Unknown;
        }
        self.forget();
    }

    /// The port whose URCs count, as far as they were set to leave by it.
    pub(super) fn port(&self) -> Option<usize> {
        match self.urc_port {
            UrcPort::One(port) | UrcPort::All { counts: port } => Some(port),
            UrcPort::Unknown => None,
        }
    }

    /// The port that URCs were set to leave by alone.
    pub(super) fn only_port(&self) -> Option<usize> {
        match self.urc_port {
            UrcPort::One(port) => Some(port),
            UrcPort::All { .. } | UrcPort::Unknown => None,
        }
    }

    /// Whether URCs were set to leave by every port, and those of another one than this count.
    pub(super) fn carries_copies(&self, port: usize) -> bool {
        matches!(self.urc_port, UrcPort::All { counts } if counts != port)
    }

    /// Judges a URC of a socket that has come by this port. What the module does decides, not what it was set to.
    fn judge(
        &mut self,
        listening: &mut Listening,
        port: usize,
        urc: SocketUrc,
        speaks: impl Fn(usize) -> bool,
        now: Instant,
    ) -> Judgement {
        let SocketUrc { pushed, is_announcement, opener, .. } = urc;
        let expected = listening.port().filter(|expected| speaks(*expected));
        let is_at_another = expected.is_some_and(|expected| expected != port);
        if pushed > 0 && is_at_another && self.is_moved(listening, port, now) {
            self.forget();
            return Judgement::Missed;
        }
        let copies_come = matches!(self.urc_port, UrcPort::All { .. })
            || self.choice == Choice::Every
            || listening.bytes() > 0;
        // The port that was listened to has become a stream.
        let takeover = match self.choice {
            Choice::Every if expected.is_none() && pushed > 0 && listening.port().is_some() => {
                listening.takeover(port)
            }
            _ => Takeover::Next,
        };
        if takeover == Takeover::Gap {
            return Judgement::Missed;
        }
        let is_stale = pushed > 0 && (urc.is_stale || listening.lacks(port));
        // What comes by another port shows whether these are copies or were held since an earlier connection, or whether
        // bytes before them have not come. If it does not come, the socket is broken then.
        let is_awaited = is_stale && is_at_another;
        let is_known_copy = takeover == Takeover::Copy || copies_come && is_at_another;
        let is_copy = is_known_copy || is_awaited;
        if !is_copy && is_stale {
            return Judgement::Missed;
        }
        listening.pushed(port, pushed, !is_copy, now);
        self.choice = match (self.choice, self.urc_port) {
            (Choice::Every, _) => Choice::Every,
            _ if is_known_copy && pushed > 0 => Choice::Every,
            // Its opener may carry a copy, which comes a little later.
            (_, UrcPort::One(told))
                if port == told
                    && opener.is_some_and(|opener| {
                        opener != told && speaks(opener) && listening.is_left_out(opener, now)
                    }) =>
            {
                Choice::AsTold
            }
            (Choice::Unknown, UrcPort::One(told))
                if port != told && opener == Some(port) && expected == Some(told) =>
            {
                log::info!(
                    "the modem sends a socket's URCs on the port that opened it and ignores AT+QURCCFG"
                );
                Choice::Opener
            }
            (choice, _) => choice,
        };
        if !is_copy && !is_at_another {
            self.proven_by = Some(port);
        }
        match is_copy {
            // An announcement only says that something may wait to be read.
            true if !is_announcement || self.proven_by.is_some() => Judgement::Copy,
            _ => Judgement::Counts,
        }
    }

    /// What the module calls this port, as it reported, or as the port's kind suggests.
    pub(super) fn name_of<'a>(&'a self, port: usize, ports: &'a [Port]) -> Option<&'a str> {
        match &self.names[port] {
            Name::Is(name) => Some(name),
            Name::Unasked | Name::Asked => ports[port].facts.at_port,
        }
    }
}

impl Modem {
    /// What the module calls this port.
    pub(super) fn name_of(&self, port: usize) -> Option<&str> {
        self.routing.name_of(port, &self.ports)
    }

    /// Whether the modem's URCs are known to reach us, or nothing contradicts it.
    pub(super) fn urcs_reach_us(&self) -> bool {
        // While the port that they leave by is lost, they are lost with it, until they leave by another.
        let speaks = |port: usize| self.channels[port].speaks();
        if self.routing.port().is_some_and(|port| !speaks(port)) {
            return false;
        }
        self.routing.proven_by.is_some_and(speaks)
            || match self.routing.urc_port {
                // The setting alone proves nothing: some modules accept it, and go on as before.
                UrcPort::All { .. } => false,
                UrcPort::One(port) => self.name_of(port).is_some_and(|name| name == self.routing.told),
                // They may leave by one that is lost, or that is a stream.
                UrcPort::Unknown => {
                    self.channels.iter().all(Channel::takes_commands)
                        && self.ports.iter().any(|port| port.facts.at_port.is_some())
                }
            }
    }

    /// Whether URCs have come since they were set to leave by a port of this name: it was the right one, or the module does
    /// not follow the setting.
    pub(super) fn urcs_have_reached_us(&self) -> bool {
        self.routing.proven_by.is_some() && !self.routing.told.is_empty()
    }

    /// Whether this URC of a socket counts, which has come by this port. One that shows that bytes are missing breaks the
    /// socket off.
    pub(super) fn is_listened_to(&mut self, port: usize, id: SocketId, urc: Urc, now: Instant) -> bool {
        let socket = &mut self.sockets[id.index()];
        let facts = SocketUrc {
            pushed: if let Urc::Pushed(_, _, length) = urc { length } else { 0 },
            is_announcement: matches!(urc, Urc::Receivable(..)),
            opener: socket.opened_by(),
            is_stale: socket.may_be_stale(port),
        };
        let speaks = |port: usize| self.channels[port].speaks();
        let judgement = self.routing.judge(&mut socket.listening, port, facts, speaks, now);
        if judgement == Judgement::Missed {
            self.break_off(id, Cut::UrcsMissed);
        }
        judgement == Judgement::Counts
    }

    /// Whether the module may push by several ports, and nothing has shown yet that it does.
    pub(super) fn leaves_ports_out(&self) -> bool {
        self.routing.choice == Choice::Unknown && self.has_several_ports()
    }

    /// The port by which the URCs of a socket that is opened by `opener` will come.
    pub(super) fn speaks_by(&self, opener: usize) -> Option<usize> {
        match (self.routing.choice, self.routing.urc_port) {
            (Choice::Opener, _) | (Choice::Unknown | Choice::AsTold, UrcPort::All { .. }) => Some(opener),
            (Choice::Unknown | Choice::AsTold | Choice::Every, _) => self.routing.port(),
        }
    }

    /// The only port that sockets with URCs are opened by; `None`: any. If a socket is opened by the one that
    /// URCs are set to leave by, its URCs come there whether the module follows that or not.
    pub(super) fn opener(&self) -> Option<usize> {
        let has_streams = self.tunnels.iter().any(|tunnel| tunnel.mode == Mode::Transparent);
        let opener = match (self.routing.choice, self.routing.urc_port) {
            (Choice::AsTold | Choice::Every, _) | (_, UrcPort::Unknown) => None,
            (Choice::Unknown, UrcPort::One(_)) if !has_streams => None,
            (Choice::Unknown | Choice::Opener, _) => self.routing.port(),
        };
        opener.filter(|port| self.channels[*port].takes_commands())
    }

    /// Whether the URCs of these sockets leave by this port, and cannot be moved away from it: it must not become a stream.
    pub(super) fn carries_urcs_of(&self, sockets: IdSet, port: usize) -> bool {
        let is_told_all = matches!(self.routing.urc_port, UrcPort::All { .. });
        if (is_told_all || self.routing.choice == Choice::Every) && self.routing.port() == Some(port) {
            return true;
        }
        let obeys = self.routing.choice == Choice::AsTold && !is_told_all;
        let every_port = self.routing.choice == Choice::Every;
        !obeys && self.among(sockets).any(|socket| socket.is_told_by(port, every_port))
    }

    pub(super) fn among(&self, ids: IdSet) -> impl Iterator<Item = &Socket> {
        let sockets = self.sockets.iter().enumerate();
        sockets.filter(move |(index, _)| ids.contains(*index)).map(|(_, socket)| socket)
    }

    /// Breaks sockets of which other ports have carried more than the one that is listened to: that was no copy, or
    /// this port has lost something.
    pub(super) fn break_missed(&mut self, now: Instant) {
        for id in SocketId::all() {
            let listening = &self.sockets[id.index()].listening;
            let (Some(behind), Some(port)) = (listening.behind(), listening.port()) else { continue };
            if self.wants_port_bytes(port) == 0 {
                // It may wait in the port.
                self.sockets[id.index()].listening.waits_for_port(now);
            } else if behind.since + MISSED_MAX <= now {
                self.sockets[id.index()].listening.give_up();
                self.routing.bytes_are_missing();
                self.break_off(id, Cut::UrcsMissed);
            }
        }
    }

    /// When [`Modem::break_missed`] is due.
    pub(super) fn next_missed(&self) -> Option<Instant> {
        let behind = self.sockets.iter().filter_map(|socket| socket.listening.behind());
        behind.map(|behind| behind.since + MISSED_MAX).min()
    }

    /// Whether sockets may be in push mode: pushed bytes reach us, and no other program's text can look like them.
    pub(super) fn pushes_count(&self) -> bool {
        self.urcs_reach_us() && !self.setup.found().texts.are_shown()
    }

    /// The port of ours whose name the module should be asked for, and a socket that was opened by it: one
    /// that has no name, or one by which no URC has come.
    fn nameless(&self, now: Instant) -> Option<(usize, SocketId)> {
        SocketId::all().find_map(|id| {
            let port = self.asks_name_by(id)?;
            let is_due = self.ports[port].facts.at_port.is_none() || self.name_due(id) <= now;
            is_due.then_some((port, id))
        })
    }

    fn asks_name_by(&self, id: SocketId) -> Option<usize> {
        let socket = &self.sockets[id.index()];
        let port = socket.opened_by().filter(|_| socket.is_calm() && socket.is_attached())?;
        let is_open = self.routing.names[port] == Name::Unasked
            && (self.ports[port].facts.at_port.is_none() || self.routing.proven_by.is_none());
        (is_open && self.routing.port().is_none_or(|counts| counts == port)).then_some(port)
    }

    fn name_due(&self, id: SocketId) -> Instant {
        self.sockets[id.index()].opening_since() + MISSED_MAX
    }

    /// When a port by which no URC has come is asked for its name.
    pub(super) fn next_name_due(&self) -> Option<Instant> {
        SocketId::all().filter(|id| self.asks_name_by(*id).is_some()).map(|id| self.name_due(id)).min()
    }

    /// The question what the module calls a port of ours.
    pub(super) fn name_question(&mut self, now: Instant) -> Option<Command> {
        let (port, id) = self.nameless(now)?;
        self.routing.names[port] = Name::Asked;
        let set = self.sockets[id.index()].set();
        Some(Command::line(Command::State { set, socket: id }.to_string()))
    }

    /// The answer to [`Modem::name_question`]. `false`: it was another command.
    pub(super) fn name_answered(&mut self, command: &Command, lines: &[String]) -> bool {
        let Command::Line(line) = command else { return false };
        if !CommandSet::ALL.iter().any(|set| line.text[2..].starts_with(set.names().state)) {
            return false;
        }
        self.learn_names(lines);
        self.learn_connections(lines);
        true
    }

    /// How the module lists our connections: what it lists otherwise later is another program's.
    pub(super) fn learn_connections(&mut self, lines: &[String]) {
        for listed in SocketStatus::all(lines) {
            self.sockets[listed.id.index()].is_listed(&listed);
        }
    }

    fn learn_names(&mut self, lines: &[String]) {
        // Of a free number a module may list anything.
        let in_use = SocketStatus::all(lines).filter(|socket| socket.state != SocketState::Free);
        for socket in in_use {
            let Some(name) = socket.at_port else { continue };
            let of = &self.sockets[socket.id.index()];
            let Some(port) = of.opened_by().filter(|_| of.set() == socket.set) else { continue };
            if self.name_of(port) != Some(name) {
                log::info!("{} is the modem's {name}", self.ports[port].facts.name);
            }
            self.routing.names[port] = Name::Is(name.to_owned());
        }
    }

    /// The answer to AT+QSSLSTATE about an open whose result may have left by a port that is not ours, or have been taken for
    /// another program's text.
    pub(super) fn missed_open_answered(
        &mut self,
        id: SocketId,
        witness: Witness,
        lines: &[String],
        now: Instant,
    ) {
        if !self.sockets[id.index()].awaits_open() {
            return;
        }
        let is_told_of = self.sockets[id.index()].open_was_asked();
        self.learn_names(lines);
        let set = self.sockets[id.index()].set();
        let mut listed = SocketStatus::all(lines).filter(|it| (it.set, it.id) == (set, id));
        let is_closing =
            witness == Witness::Ended && listed.any(|socket| socket.state == SocketState::Closing);
        if witness == Witness::Connected || (is_closing && is_told_of) {
            // Where it is closing, its server has closed meanwhile.
            self.open_settled(id, 0, now);
        } else if is_closing {
            self.sockets[id.index()].opens_again();
        }
    }

    /// Whether URCs leave by another port than the one that is listened to, or by others as well.
    pub(super) fn is_misrouted(&self, port: usize) -> bool {
        let name = match &self.routing.names[port] {
            Name::Is(name) => Some(name),
            Name::Unasked | Name::Asked => None,
        };
        match self.routing.urc_port {
            UrcPort::One(only) if self.routing.told.is_empty() => only == port,
            UrcPort::One(only) => only == port && name.is_some_and(|name| *name != self.routing.told),
            UrcPort::All { counts } => counts == port && self.channels.len() == 1 && name.is_some(),
            UrcPort::Unknown => false,
        }
    }

    /// A server has closed, and no `closed` has come: the module no longer has the setting, like one that
    /// has rebooted without a message. It is set again.
    pub(super) fn closed_was_missed(&mut self) {
        if self.urcs_reach_us() {
            log::debug!("a connection ended, and the modem did not report it");
            self.routing.forget();
        }
    }

    /// URCs that were set to leave by `before` went to a port that is not ours: what was pushed is lost, what
    /// waits in the module is not. Where `before` is empty, they may have gone anywhere. Now they leave by `port`.
    pub(super) fn urcs_were_elsewhere(&mut self, before: &str, port: usize) {
        let is_certain = !before.is_empty();
        if is_certain {
            log::warn!("URCs were sent on the modem's port {before}, which is not in use here");
        }
        // A URC has come by it since it was opened.
        let has_spoken = |socket: &Socket| !is_certain && socket.listening.bytes() > 0;
        for id in SocketId::all() {
            let socket = &mut self.sockets[id.index()];
            if !has_spoken(socket)
                && let Err(cut) = socket.urcs_were_elsewhere()
            {
                self.break_off(id, cut);
            }
        }
        // What follows comes by another port, and what came there before was taken for copies.
        self.break_pushing(|socket| has_spoken(socket) && socket.listening.port() != Some(port));
    }

    /// URCs that left by `before` leave by `port` from now on, and all that came by the first has been read.
    pub(super) fn urcs_moved(&mut self, before: usize, port: usize) {
        match self.routing.choice {
            // They come where they came before.
            Choice::Opener | Choice::Every => return,
            // What comes by the other port now may be new, or a copy of what has come.
            Choice::Unknown => self.break_pushing(|socket| {
                socket.listening.port() == Some(before) && socket.listening.bytes() > 0
            }),
            Choice::AsTold => {}
        }
        self.sockets.iter_mut().for_each(|socket| socket.listening.moved(before, port));
    }

    /// Breaks those of these sockets that are pushed bytes: some of them may have been lost.
    fn break_pushing(&mut self, of: impl Fn(&Socket) -> bool) {
        for id in SocketId::all() {
            let socket = &self.sockets[id.index()];
            if socket.is_pushing() && of(socket) {
                self.break_off(id, Cut::UrcsMissed);
            }
        }
    }

    /// The name of the port that URCs were set to leave by.
    pub(super) fn urcs_told(&self) -> &str {
        &self.routing.told
    }

    /// These channels, a bit each, answer again. If the module has carried out a late setting of the port that URCs leave
    /// by, that is made again, and what was pushed meanwhile may be lost.
    pub(super) fn urc_ports_answer(&mut self, answering: u32) {
        if self.routing.late.is_empty() {
            return;
        }
        let made = self.routing.only_port().map(|port| self.leave_by(port));
        if !self.routing.are_late(answering, made.as_ref()) {
            return;
        }
        self.routing.forget();
        self.break_pushing(|socket| socket.listening.bytes() > 0);
    }

    /// How often a silent socket is read, or asked whether it is open; `None`: URCs are enough.
    pub(super) fn poll_interval(&self) -> Option<Duration> {
        match self.settings.poll_interval {
            Some(interval) => Some(interval).filter(|interval| !interval.is_zero()),
            None => (!self.urcs_reach_us()).then_some(POLL_INTERVAL),
        }
    }
}

/// If no URC comes for this long after an open, the port's name is asked for. Bytes that another port has carried, and
/// that have not come by the right one in this time, count as lost.
const MISSED_MAX: Duration = Duration::from_secs(5);

/// How often a socket in buffer mode is read where URCs may not reach us.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    #[test]
    fn the_port_whose_urcs_count_follows_the_setting_and_the_ports_that_are_there() {
        let mut routing = Routing::new(3);
        assert_eq!((routing.port(), routing.only_port()), (None, None));
        routing.leave_by(1, "all");
        assert_eq!((routing.port(), routing.only_port()), (Some(1), None));
        let copies = |routing: &Routing| (0..3).map(|port| routing.carries_copies(port)).collect::<Vec<_>>();
        assert_eq!(copies(&routing), [true, false, true]);
        routing.port_closed(2, Some(0));
        assert_eq!(routing.port(), Some(1), "another than the one that counts");
        routing.port_closed(1, None);
        assert_eq!(routing.port(), Some(1), "there is no other");
        routing.port_closed(1, Some(2));
        assert_eq!(routing.port(), Some(2));
        routing.leave_by(1, "usbat");
        assert_eq!((routing.only_port(), copies(&routing)), (Some(1), vec![false; 3]));
        routing.port_closed(1, Some(0));
        assert_eq!(routing.only_port(), Some(1), "the setting stays, and is made anew");
        routing.leave_by_first_channel("uart1");
        assert_eq!(routing.only_port(), Some(0));
        routing.leave_anywhere();
        assert_eq!(routing.port(), None);
    }

    /// It was once remembered while URCs left by all ports, and connections were broken for it minutes later.
    #[test]
    fn a_setting_that_was_given_up_is_late_only_until_its_channel_answers() {
        let (all, one) = (Command::line("all"), Command::line("one"));
        let mut routing = Routing::new(2);
        routing.leave_by(0, "all");
        routing.given_up(0, &all);
        assert!(!routing.are_late(0b01, None), "every port has them");
        routing.leave_by(0, "uart1");
        assert!(!routing.are_late(0b11, Some(&one)), "it was carried out before");
        routing.given_up(1, &all);
        assert!(!routing.are_late(0b01, Some(&one)), "another channel answers");
        assert!(routing.are_late(0b10, Some(&one)));
        assert!(!routing.are_late(0b10, Some(&one)), "once");
        routing.given_up(1, &one);
        assert!(!routing.are_late(0b10, Some(&one)), "it is the same");
    }

    #[test]
    fn a_setting_proves_nothing_before_a_urc_has_come() {
        let mut routing = Routing::new(1);
        routing.proven_by = Some(0);
        routing.leave_by(0, "usbat");
        assert_eq!(routing.proven_by, None);
    }

    /// What is pushed in turn: by which port, how many bytes, and what it is then.
    type Pushes<'a> = &'a [(usize, usize, Judgement)];

    #[test]
    fn what_a_urc_is_follows_from_the_setting_and_from_what_each_port_has_carried() {
        use Judgement::{Copy, Counts, Missed};
        // The setting; the port that opened the socket; what is pushed a second apart; how the module chooses then.
        let rows: [(&str, usize, Pushes<'_>, Choice); 9] = [
            ("usbat", 0, &[(0, 10, Counts), (0, 10, Counts)], Choice::Unknown),
            ("all", 0, &[(0, 10, Counts), (1, 10, Copy), (0, 5, Counts)], Choice::Every),
            ("all", 1, &[(1, 10, Copy), (0, 10, Counts)], Choice::Every),
            ("usbat", 1, &[(0, 10, Counts), (1, 10, Copy)], Choice::Every),
            ("usbat", 1, &[(1, 10, Counts), (1, 10, Counts)], Choice::Opener),
            (
                "usbat",
                1,
                &[(0, 10, Counts), (0, 10, Counts), (0, 10, Counts), (0, 1, Counts)],
                Choice::AsTold,
            ),
            // It comes by another port for the first time long after the others: the setting was changed.
            (
                "usbat",
                0,
                &[(0, 10, Counts), (0, 10, Counts), (0, 10, Counts), (0, 10, Counts), (1, 10, Missed)],
                Choice::Unknown,
            ),
            // An empty push tells nothing about the others.
            ("usbat", 0, &[(1, 0, Counts)], Choice::Unknown),
            ("all", 0, &[(1, 0, Copy), (0, 10, Counts)], Choice::Unknown),
        ];
        for (name, opener, pushes, choice) in rows {
            let mut routing = Routing::new(2);
            routing.leave_by(0, name);
            let mut listening = Listening::default();
            listening.expect(Some(0), 0);
            let mut now = now();
            for (number, (port, pushed, judgement)) in pushes.iter().enumerate() {
                let urc = SocketUrc { pushed: *pushed, opener: Some(opener), ..SocketUrc::default() };
                let found = routing.judge(&mut listening, *port, urc, |_| true, now);
                assert_eq!(found, *judgement, "{name}, opened by {opener}, {pushes:?}, number {number}");
                now += Duration::from_secs(1);
            }
            assert_eq!(routing.choice, choice, "{name}, opened by {opener}, {pushes:?}");
        }
    }

    #[test]
    fn where_every_port_carries_copies_another_one_goes_on_where_the_lost_one_stopped() {
        let rows = [(10, 10, Judgement::Counts), (10, 4, Judgement::Copy), (4, 10, Judgement::Missed)];
        for (carried_by_lost, carried_by_other, judgement) in rows {
            let mut routing = Routing::new(2);
            routing.leave_by(0, "all");
            let mut listening = Listening::default();
            listening.expect(Some(0), 0);
            let push = |pushed| SocketUrc { pushed, opener: Some(0), ..SocketUrc::default() };
            routing.judge(&mut listening, 0, push(carried_by_lost), |_| true, now());
            routing.judge(&mut listening, 1, push(carried_by_other), |_| true, now());
            let found = routing.judge(&mut listening, 1, push(6), |port| port == 1, now());
            assert_eq!(found, judgement, "{carried_by_lost} and {carried_by_other} bytes");
        }
    }

    #[test]
    fn what_may_belong_to_the_connection_before_is_never_counted() {
        let mut routing = Routing::new(2);
        routing.leave_by(0, "usbat");
        let mut listening = Listening::default();
        let urc = SocketUrc { pushed: 10, opener: Some(0), is_stale: true, ..SocketUrc::default() };
        assert_eq!(routing.judge(&mut listening, 1, urc, |_| true, now()), Judgement::Missed);
        // Where they are expected by another port, that one shows whether these are copies.
        listening.expect(Some(0), 0);
        assert_eq!(routing.judge(&mut listening, 1, urc, |_| true, now()), Judgement::Copy);
        assert!(listening.behind().is_some(), "the other port has not carried them yet");
    }

    /// A channel that had just been a stream carried the second of two pushes, before the first had come by another.
    #[test]
    fn what_comes_by_a_channel_that_was_a_stream_may_lack_what_was_pushed_meanwhile() {
        let push = |pushed| SocketUrc { pushed, opener: Some(0), ..SocketUrc::default() };
        for is_opened_meanwhile in [true, false] {
            let mut routing = Routing::new(3);
            routing.leave_by(0, "uart1");
            let mut listening = Listening::default();
            listening.expect(Some(0), if is_opened_meanwhile { 0b10 } else { 0 });
            if !is_opened_meanwhile {
                listening.is_left_out_on(1);
            }
            let mut judge = |listening: &mut Listening, port, pushed, speaks: &dyn Fn(usize) -> bool| {
                routing.judge(listening, port, push(pushed), speaks, now())
            };
            assert_eq!(judge(&mut listening, 1, 24, &|_| true), Judgement::Copy);
            assert_eq!(judge(&mut listening, 0, 22, &|_| true), Judgement::Counts);
            assert_eq!(judge(&mut listening, 0, 24, &|_| true), Judgement::Counts);
            assert_eq!(judge(&mut listening, 2, 46, &|_| true), Judgement::Copy, "it was never a stream");
            // The channel that was listened to becomes a stream.
            let without_first = |port| port != 0;
            assert_eq!(judge(&mut listening, 1, 10, &without_first), Judgement::Missed);
            assert_eq!(judge(&mut listening, 2, 10, &without_first), Judgement::Counts);
        }
    }

    /// The first copy that a channel carried after it had been a stream was taken for a changed setting.
    #[test]
    fn the_first_copy_by_a_channel_that_was_a_stream_is_no_changed_setting() {
        for (was_stream, judgement) in [(true, Judgement::Copy), (false, Judgement::Missed)] {
            let mut routing = Routing::new(2);
            routing.leave_by(0, "uart1");
            let mut listening = Listening::default();
            listening.expect(Some(0), u32::from(was_stream) << 1);
            let push = SocketUrc { pushed: 7, opener: Some(0), ..SocketUrc::default() };
            let late = now() + Duration::from_secs(5);
            assert_eq!(routing.judge(&mut listening, 0, push, |_| true, now()), Judgement::Counts);
            assert_eq!(routing.judge(&mut listening, 0, push, |_| true, late), Judgement::Counts);
            assert_eq!(routing.judge(&mut listening, 1, push, |_| true, late), judgement);
        }
    }

    #[test]
    fn an_announcement_counts_by_any_port_until_urcs_are_known_to_reach_us() {
        let mut routing = Routing::new(2);
        routing.leave_by(0, "all");
        let mut listening = Listening::default();
        listening.expect(Some(0), 0);
        let urc = SocketUrc { is_announcement: true, opener: Some(0), ..SocketUrc::default() };
        assert_eq!(routing.judge(&mut listening, 1, urc, |_| true, now()), Judgement::Counts);
        assert_eq!(routing.judge(&mut listening, 0, urc, |_| true, now()), Judgement::Counts);
        assert_eq!(routing.judge(&mut listening, 1, urc, |_| true, now()), Judgement::Copy);
    }
}
