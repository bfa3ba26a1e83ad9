//! The programs that have a tty open or locked, for messages.
//!
//! There are two sources: the open descriptors of all processes, of which other users' are visible only to root,
//! and the kernel's list of file locks, which every user may read. Both are searched only after an open has
//! failed.

use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How many holders one message names; more would not help the reader.
const HOLDERS_MAX: usize = 4;

/// The kernel's name for processes of this program.
const PROGRAM: &str = "qssl-tunnel";

/// The descriptor of standard error. A terminal on a standard stream is not a modem.
const STANDARD_STREAMS_LAST: u32 = 2;

/// The programs that have the tty at `device` open or hold a lock on it, as `ModemManager (pid 123)`,
/// separated by commas. `None` if none is visible; an ordinary user does not see all.
pub fn holders_of(device: &Path) -> Option<String> {
    list(pids_of(device))
}

/// The programs that have locked it and still run, where the kernel tells; otherwise all that have it open. Others may have it open
/// with good reason, such as the program at the other end of a pseudoterminal.
pub fn lockers_of(device: &Path) -> Option<String> {
    let mut owners = lock_owners_of(device);
    owners.retain(|pid| Path::new(&format!("/proc/{pid}")).exists());
    if owners.is_empty() { holders_of(device) } else { list(owners) }
}

/// The same as [`holders_of`] without this process, for use while the device is open here.
pub fn others_of(device: &Path) -> Option<String> {
    let own = std::process::id();
    list(pids_of(device).into_iter().filter(|pid| *pid != own).collect())
}

/// The other processes of this program that have a tty open apart from their standard streams, each as
/// `qssl-tunnel (pid 123) uses /dev/ttyS0`, as far as they are visible.
pub fn other_tunnels() -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let mut pids: Vec<u32> = pids.filter(|pid| *pid != std::process::id()).collect();
    qssl_core::sort_few(&mut pids, |one, other| one < other);
    let used = pids.into_iter().filter_map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim_end() == PROGRAM).then_some(())?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let tty = descriptors.filter_map(|descriptor| tty_behind(&descriptor.path())).next()?;
        Some(format!("{} uses {}", describe(pid), tty.display()))
    });
    used.take(HOLDERS_MAX).collect()
}

/// The tty of this descriptor; `None` for a standard stream, or if it is not a tty.
fn tty_behind(descriptor: &Path) -> Option<PathBuf> {
    let number: u32 = descriptor.file_name()?.to_str()?.parse().ok()?;
    let target = fs::read_link(descriptor).ok()?;
    let name = target.strip_prefix("/dev").ok()?.to_str()?;
    let is_port = (name.starts_with("tty") && name != "tty") || name.starts_with("pts/");
    (number > STANDARD_STREAMS_LAST && is_port).then_some(target)
}

fn pids_of(device: &Path) -> Vec<u32> {
    let Ok(metadata) = fs::metadata(device) else { return Vec::new() };
    let mut pids = processes_with_open(metadata.st_rdev());
    pids.extend(lock_owners_of(device));
    qssl_core::sort_few(&mut pids, |one, other| one < other);
    pids.dedup();
    pids
}

fn list(pids: Vec<u32>) -> Option<String> {
    let names: Vec<String> = pids.into_iter().take(HOLDERS_MAX).map(describe).collect();
    if names.is_empty() { None } else { Some(names.join(", ")) }
}

/// The processes that have a descriptor of the character device number `rdev`.
fn processes_with_open(rdev: u64) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            descriptors.flatten().any(|descriptor| {
                let path = descriptor.path();
                // Only links into /dev are followed: stat of a file on a dead network share would hang.
                fs::read_link(&path).is_ok_and(|target| target.starts_with("/dev"))
                    && fs::metadata(&path).is_ok_and(|metadata| metadata.st_rdev() == rdev)
            })
        })
        .collect()
}

fn lock_owners_of(device: &Path) -> Vec<u32> {
    let (Ok(metadata), Ok(locks)) = (fs::metadata(device), fs::read_to_string("/proc/locks")) else {
        return Vec::new();
    };
    lock_owners(&locks, metadata.st_dev(), metadata.st_ino())
}

/// The owners of locks on the file with this device and inode number, from the text of `/proc/locks`:
/// `3: FLOCK  ADVISORY  WRITE 1234 00:05:678 0 EOF`, with device numbers in hexadecimal.
fn lock_owners(locks: &str, device: u64, inode: u64) -> Vec<u32> {
    let file = format!("{:02x}:{:02x}:{inode}", rustix::fs::major(device), rustix::fs::minor(device));
    locks
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let place = words.clone().position(|word| word == file)?;
            words.nth(place.checked_sub(1)?)?.parse::<u32>().ok()
        })
        // 0 stands for a process in another PID namespace (another container).
        .filter(|pid| *pid != 0)
        .collect()
}

fn describe(pid: u32) -> String {
    if pid == std::process::id() {
        return format!("this process (pid {pid}): the device is given twice, or its modem is leaving");
    }
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{} (pid {pid})", name.trim_end()),
        Err(_) => format!("pid {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serialport::{SerialPort as _, TTYPort};

    #[test]
    fn an_open_terminal_is_traced_to_this_process() {
        let (_master, slave) = TTYPort::pair().unwrap();
        let holders = holders_of(Path::new(&slave.name().unwrap())).unwrap();
        assert!(holders.contains(&format!("pid {}", std::process::id())), "{holders}");
    }

    #[test]
    fn only_who_has_locked_it_is_named_for_a_lock() {
        let (_master, slave) = TTYPort::pair().unwrap();
        let path = slave.name().unwrap();
        let device = fs::File::open(&path).unwrap();
        let mut other = std::process::Command::new("cat");
        let mut other = other.stdin(device.try_clone().unwrap()).spawn().unwrap();
        rustix::fs::flock(&device, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        let named = lockers_of(Path::new(&path)).unwrap();
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(named.contains(&format!("(pid {})", std::process::id())), "{named}");
        assert!(!named.contains(&format!("(pid {})", other.id())), "{named}");
    }

    #[test]
    fn a_lock_is_traced_to_its_owner_without_a_look_at_descriptors() {
        let locks = "1: POSIX  ADVISORY  WRITE 12 00:05:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 00:05:678 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4712 00:05:678 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 00:05:678 0 EOF\n\
                     nonsense\n00:05:678\n";
        assert_eq!(lock_owners(locks, rustix::fs::makedev(0, 5), 678), [4711, 4712]);
        assert!(lock_owners(locks, rustix::fs::makedev(0, 6), 678).is_empty());
    }
}
