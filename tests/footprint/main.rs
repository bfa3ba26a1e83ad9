//! The tunnel's use of resources, measured from outside: system calls, wake-ups, memory.
//!
//! Each file tests one kind. They are one test binary, which links once. Nothing depends on the machine's speed.

mod idle;
mod memory;
mod system_calls;

/// The value of this name that the system reports for a process: a number, in KiB for memory.
fn of_process(id: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = value.unwrap_or_else(|| panic!("the system says no {name}:\n{status}"));
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}
