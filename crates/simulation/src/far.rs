//! A server that records what it sent and read, and that a test can make send more or end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use qssl_modem_emulator::network::simulated::{Behaviour, Ending, FarEnd};

/// The record of a server, shared between the network that runs it and the test that reads it.
#[derive(Clone, Debug, Default)]
pub struct Far(Arc<Mutex<Memory>>);

/// What a server did.
#[derive(Debug, Default)]
pub struct Memory {
    /// Connections that came up.
    pub opened: usize,
    /// What it has read, in order.
    pub read: Vec<u8>,
    /// What it has sent, in order.
    pub said: Vec<u8>,
    /// How it ended the connection.
    pub ended: Option<Ending>,
    /// The same of each connection that came up, where its tunnel may have several at once.
    pub conversations: Vec<Conversation>,
    keeps_conversations: bool,
    to_say: VecDeque<u8>,
    told_to_end: Option<Ending>,
}

/// What a server did on one connection.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// What it has read, in order.
    pub read: Vec<u8>,
    /// What it has sent, in order.
    pub said: Vec<u8>,
    /// Whether it has ended the connection.
    pub has_ended: bool,
}

impl Far {
    /// Its record.
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().expect("only one thread runs a simulation")
    }

    /// Makes it record each of its connections.
    pub fn keep_conversations(&self) {
        self.memory().keeps_conversations = true;
    }

    /// Whether it does.
    pub fn keeps_conversations(&self) -> bool {
        self.memory().keeps_conversations
    }

    /// Makes it send more.
    pub fn say(&self, bytes: &[u8]) {
        self.memory().to_say.extend(bytes);
    }

    /// Makes it end the connection after what it has sent.
    pub fn end(&self, how: Ending) {
        self.memory().told_to_end = Some(how);
    }

    /// A connection to it.
    pub fn start(&self, behaviour: Behaviour) -> Box<dyn FarEnd> {
        Box::new(Remembering { far: self.clone(), acts: behaviour.start(), number: None })
    }
}

struct Remembering {
    far: Far,
    acts: Box<dyn FarEnd>,
    /// Its place in the conversations, if they are kept.
    number: Option<usize>,
}

impl FarEnd for Remembering {
    fn opened(&mut self, now: Instant) {
        let mut memory = self.far.memory();
        memory.opened += 1;
        if memory.opened > 1 {
            // The connection before this one was not given to the client, so only this one is recorded.
            (memory.read, memory.said, memory.ended) = (Vec::new(), Vec::new(), None);
        }
        if memory.keeps_conversations {
            self.number = Some(memory.conversations.len());
            memory.conversations.push(Conversation::default());
        }
        drop(memory);
        self.acts.opened(now);
    }

    fn wants(&self, now: Instant) -> usize {
        self.acts.wants(now)
    }

    fn received(&mut self, bytes: &[u8], now: Instant) {
        let mut memory = self.far.memory();
        memory.read.extend_from_slice(bytes);
        if let Some(number) = self.number {
            memory.conversations[number].read.extend_from_slice(bytes);
        }
        drop(memory);
        self.acts.received(bytes, now);
    }

    fn send(&mut self, room: usize, now: Instant) -> Vec<u8> {
        let mut memory = self.far.memory();
        let by_hand = memory.to_say.len().min(room);
        let mut said: Vec<u8> = memory.to_say.drain(..by_hand).collect();
        said.extend(self.acts.send(room - by_hand, now));
        memory.said.extend_from_slice(&said);
        if let Some(number) = self.number {
            memory.conversations[number].said.extend_from_slice(&said);
        }
        said
    }

    fn ending(&self, now: Instant) -> Option<Ending> {
        let mut memory = self.far.memory();
        let told = memory.told_to_end.filter(|_| memory.to_say.is_empty());
        let ending = told.or_else(|| self.acts.ending(now));
        memory.ended = memory.ended.or(ending);
        if let Some(number) = self.number {
            memory.conversations[number].has_ended |= ending.is_some();
        }
        ending
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.acts.next_deadline(now)
    }
}
