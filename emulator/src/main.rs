//! The emulated modem as a program.

fn main() {}
