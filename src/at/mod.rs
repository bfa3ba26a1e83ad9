//! The language of the modem: command → bytes, bytes → message.

mod value;

pub use value::{
    AtText, AtTextError, IdSet, PdpContextId, SOCKET_COUNT, SSL_CONTEXT_COUNT, SocketId, SslContextId,
};
