//! What the tunnel takes of a machine, seen from outside: system calls, wake-ups, memory.
//!
//! One kind a file, one test binary, so that it links once. Nothing here depends on how fast the machine is.

mod idle;
mod memory;
mod system_calls;

/// What the system says of a process under this name: a number, in KiB where it is memory.
fn of_process(id: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = value.unwrap_or_else(|| panic!("the system says no {name}:\n{status}"));
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}
