//! Arguments → configuration → run → exit status, nothing else.

fn main() {}
