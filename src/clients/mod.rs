//! The left shore: where clients come in, their bytes, and who they are.

pub mod listener;
pub mod peer;
pub mod stream;
