//! Heart, line and emulated modem in simulated time: one behaviour a file.
//!
//! Nothing here sleeps or looks at a clock, and chance follows from a seed that is printed when a run fails.

// Each test uses its part of the harness.
#![allow(dead_code)]

mod harness;
mod push_mode;
