//! The language of the modem: command → bytes, bytes → message.
//!
//! Nothing in here knows about sockets that are open or clients that wait; it only knows how a thing is
//! written. [`Command`] is what we send, [`Message`] is what the modem sends, [`Decoder`] finds messages in a
//! stream of bytes, [`answers`] gives the meaning of the lines of an answer, and [`ResultCode`] puts the
//! modem's numbers into words.

pub mod answers;
mod command;
mod command_set;
mod decoder;
mod foreign;
mod outcome;
mod parse;
mod result_code;
#[doc(hidden)]
pub mod transcript;
mod value;

pub use command::{AccessMode, Command, Line, Security, USUAL_PATIENCE};
pub(crate) use command::{Expects, UPLOAD_TIMEOUT_SECONDS};
pub use command_set::{CommandSet, Names};
pub use decoder::{Decoder, Final, Message, Numbers, Urc};
pub(crate) use foreign::{begins_text, foreign_length};
pub use outcome::{CommandOutcome, NoResult, Refusal};
pub(crate) use parse::fields;
pub use result_code::{CmeError, ResultCode};
pub use value::{
    AtText, AtTextError, IdSet, PdpContextId, SOCKET_COUNT, SSL_CONTEXT_COUNT, SocketId, SslContextId,
};

/// The most bytes that one AT+QSSLSEND or AT+QSSLRECV carries (EG800Q manual, 2.2.3; the EC20 manual has 1500
/// for some, which real modules refuse).
pub const CHUNK_MAX: usize = 1460;

/// The most bytes that one AT+QSSLRECV or AT+QIRD yields, in bytes (both manuals).
pub const READ_MAX: usize = 1_500;
