//! Commands from outside that open and close sockets: the sockets they name are theirs until they are closed.

use super::Modem;
use crate::at::{Command, CommandSet, SocketId, fields};
use crate::settings::Transport;

impl Modem {
    /// A command from outside is about to leave. A free socket that it opens is not ours meanwhile: it is neither given
    /// to a client nor closed.
    pub(super) fn lend_socket(&mut self, command: &Command) {
        if let Some(id) = named_socket(command, "+QSSLOPEN=", 2) {
            self.sockets[id.index()].lend(CommandSet::Ssl);
        }
        if Transport::any_is_plain(&self.tunnels)
            && let Some(id) = named_socket(command, "+QIOPEN=", 1)
        {
            self.sockets[id.index()].lend(CommandSet::Ip);
        }
    }

    /// A command from outside was answered. A socket of ours that it closed is free again once every channel
    /// reports so. A refused close is as good: the modem refuses it for a socket that never opened.
    pub(super) fn take_socket_back(&mut self, command: &Command) {
        let closed = CommandSet::ALL.into_iter().find_map(|set| {
            let id = named_socket(command, &format!("{}=", set.names().close), 0)?;
            (self.sockets[id.index()].set() == set).then_some(id)
        });
        if let Some(id) = closed
            && self.settings.sockets.contains(id.index())
        {
            let speaking = self.speaking_channels();
            self.sockets[id.index()].take_back(speaking);
        }
    }
}

/// The socket in the given field of this command's parameters.
fn named_socket(command: &Command, name: &str, field: usize) -> Option<SocketId> {
    let Command::Line(line) = command else { return None };
    let upper = line.text.to_ascii_uppercase();
    let parameters = upper.find(name)? + name.len();
    fields(&upper[parameters..]).nth(field)?.trim().parse().ok().and_then(SocketId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_of_a_command_is_read_from_its_text() {
        let open = |text: &str| named_socket(&Command::line(text), "+QSSLOPEN=", 2);
        assert_eq!(open("AT+QSSLOPEN=1,5,11,\"host, 3\",443,0"), SocketId::new(11));
        assert_eq!(open("at+csq;+qsslopen=1,5,3,\"host\",443,0"), SocketId::new(3));
        assert_eq!(open("AT+QSSLOPEN=1,5,99,\"host\",443,0"), None);
        assert_eq!(open("AT+QSSLOPEN=?"), None);
        assert_eq!(named_socket(&Command::line("AT+QSSLCLOSE=7"), "+QSSLCLOSE=", 0), SocketId::new(7));
    }
}
