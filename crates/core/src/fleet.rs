//! Several modems side by side: which of them a new client goes to.
//!
//! Each modem has a core of its own ([`crate::Relay`]). A connection stays with the modem that it was opened by, so all
//! that is decided here is where a client goes that has no connection yet.

use std::cmp::Reverse;

/// Which of several modems that could serve it a client goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The first.
    #[default]
    Failover,
    /// The one with the most free connections, and of several such the one whose ports are the least busy.
    Balance,
}

/// How a modem is, as far as it matters to a new client. Better ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It opens connections.
    Serving,
    /// It is being set up, or waits for its network.
    Starting,
    /// An answer is overdue. That is a suspicion, not a verdict: its connections are not touched.
    Silent,
    /// None of its ports is open.
    PortGone,
    /// It is not used any more.
    GivenUp,
}

/// A modem at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How it is.
    pub condition: Condition,
    /// How many connections it can open now, beyond those that its own clients wait for.
    pub free_sockets: usize,
    /// The bytes that passed its ports lately, both ways.
    pub load_bytes: u64,
}

impl Facts {
    /// How far it is from opening a connection at once; `None`: it will not open any.
    fn rank(self) -> Option<u8> {
        match self.condition {
            Condition::Serving if self.free_sockets > 0 => Some(0),
            Condition::Serving => Some(1),
            Condition::Starting => Some(2),
            Condition::Silent => Some(3),
            Condition::PortGone => Some(4),
            Condition::GivenUp => None,
        }
    }

    /// Whether it opens a connection at once.
    pub fn can_open(self) -> bool {
        self.rank() == Some(0)
    }
}

/// The modem that a new client goes to, of those that it may use, in the order of its tunnel. Where one can open a
/// connection at once, it goes to no other. `None`: all were given up.
pub fn choose(policy: Policy, modems: impl IntoIterator<Item = (usize, Facts)>) -> Option<usize> {
    let usable = modems.into_iter().filter_map(|(modem, facts)| Some((modem, facts, facts.rank()?)));
    let best = usable.min_by_key(|(_, facts, rank)| match policy {
        Policy::Failover => (*rank, Reverse(0), 0),
        Policy::Balance => (*rank, Reverse(facts.free_sockets), facts.load_bytes),
    });
    best.map(|(modem, ..)| modem)
}

/// Where a client goes that waits at a modem which is as `own` says, and of which nothing has been sent; `None`: it stays.
/// It moves only to one of `others` that opens its connection at once, so that it does not wander. One that was given up it
/// leaves for any other.
pub fn moves_to(
    policy: Policy,
    own: Facts,
    others: impl IntoIterator<Item = (usize, Facts)>,
) -> Option<usize> {
    if own.can_open() {
        return None;
    }
    let is_better = |facts: Facts| facts.can_open() || own.condition == Condition::GivenUp;
    choose(policy, others.into_iter().filter(|(_, facts)| is_better(*facts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(condition: Condition, free_sockets: usize, load_bytes: u64) -> Facts {
        Facts { condition, free_sockets, load_bytes }
    }

    fn chosen(policy: Policy, modems: &[Facts]) -> Option<usize> {
        choose(policy, modems.iter().copied().enumerate())
    }

    #[test]
    fn a_client_goes_to_the_first_that_opens_at_once_or_else_to_the_one_nearest_to_it() {
        use Condition::{GivenUp, PortGone, Serving, Silent, Starting};
        let order = [
            facts(Serving, 1, 0),
            facts(Serving, 0, 0),
            facts(Starting, 0, 0),
            facts(Silent, 12, 0),
            facts(PortGone, 0, 0),
        ];
        for policy in [Policy::Failover, Policy::Balance] {
            for (better, one) in order.iter().enumerate() {
                for other in &order[better + 1..] {
                    assert_eq!(chosen(policy, &[*other, *one]), Some(1), "{one:?} before {other:?}");
                    assert_eq!(chosen(policy, &[*one, *other]), Some(0), "{one:?} before {other:?}");
                }
                assert_eq!(chosen(policy, &[facts(GivenUp, 12, 0), *one]), Some(1));
            }
            assert_eq!(chosen(policy, &[facts(GivenUp, 12, 0)]), None);
        }
    }

    #[test]
    fn failover_keeps_to_the_order_and_balance_looks_at_sockets_and_then_at_the_line() {
        let serving = |free, load| facts(Condition::Serving, free, load);
        assert_eq!(chosen(Policy::Failover, &[serving(1, 9_000), serving(12, 0)]), Some(0));
        assert_eq!(chosen(Policy::Balance, &[serving(1, 0), serving(12, 9_000)]), Some(1));
        assert_eq!(chosen(Policy::Balance, &[serving(7, 9_000), serving(7, 100)]), Some(1));
        assert_eq!(chosen(Policy::Balance, &[serving(7, 100), serving(7, 100)]), Some(0));
    }

    #[test]
    fn a_client_that_waits_moves_only_to_a_modem_that_opens_its_connection_at_once() {
        let (free, full) = (facts(Condition::Serving, 3, 0), facts(Condition::Serving, 0, 0));
        let (starting, silent) = (facts(Condition::Starting, 0, 0), facts(Condition::Silent, 3, 0));
        for own in [full, starting, silent] {
            let moved = |other| moves_to(Policy::Failover, own, [(7, other)]);
            assert_eq!(moved(free), Some(7), "from {own:?}");
            for other in [full, starting, silent] {
                assert_eq!(moved(other), None, "from {own:?} to {other:?}");
            }
        }
        assert_eq!(moves_to(Policy::Failover, free, [(0, free)]), None, "not back to the first");
        let given_up = facts(Condition::GivenUp, 3, 0);
        assert_eq!(moves_to(Policy::Failover, given_up, [(7, starting)]), Some(7));
        assert_eq!(moves_to(Policy::Failover, given_up, [(7, given_up)]), None);
    }
}
