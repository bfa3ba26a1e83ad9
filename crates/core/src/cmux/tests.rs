//! Tests of the multiplexer.
