//! A sandbox of the process's own, by Landlock: from then on it can open its ports and the directories of its
//! configuration, its state and its sockets, and nothing else. What is open already stays open.
//!
//! Rules name directories, not files: a modem that re-enumerates and a file that is replaced are new files.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use crate::config::{Configuration, Device, Listen};

/// What the process may do besides reading what discovery reads.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Directories with files to read.
    pub read: Vec<PathBuf>,
    /// Directories whose files are made, replaced and removed.
    pub write: Vec<PathBuf>,
    /// Directories in which Unix sockets are made and removed.
    pub sockets: Vec<PathBuf>,
    /// Directories of ttys, besides /dev.
    pub ttys: Vec<PathBuf>,
    /// The TCP ports that it connects to.
    pub servers: Vec<u16>,
    /// Whether it may listen on further TCP ports.
    pub listens_anew: bool,
}

impl Sandbox {
    /// What this configuration needs. `read`: files that are read again.
    pub fn new(configuration: &Configuration, read: &[PathBuf]) -> Sandbox {
        let mut sandbox = Sandbox::default();
        for file in read {
            sandbox.read.push(directory(file));
            // Where the file is a link, what it leads to is opened.
            sandbox.read.extend(fs::canonicalize(file).ok().map(|file| directory(&file)));
        }
        if !read.is_empty() {
            // The accounts of socket files.
            sandbox.read.extend(ACCOUNTS.iter().chain(LIBRARIES).map(PathBuf::from));
        }
        for device in configuration.modems.iter().flat_map(|modem| &modem.devices) {
            match device {
                Device::Path(path) => sandbox.ttys.push(directory(path)),
                Device::Glob(pattern) => {
                    let fixed = pattern.find(['*', '?', '[']).map_or(&pattern[..], |end| &pattern[..end]);
                    sandbox.ttys.push(fixed.rfind('/').map_or(".", |end| &fixed[..=end]).into());
                }
                Device::Rfc2217(server) | Device::Tcp(server) => {
                    sandbox.servers.push(server.port);
                    if server.host.as_str().parse::<std::net::IpAddr>().is_err() {
                        sandbox.looks_up_names();
                    }
                }
                Device::Auto | Device::Usb { .. } | Device::Imei(_) | Device::Emulator(_) => {}
            }
        }
        sandbox.ttys.retain(|directory| !directory.starts_with("/dev"));
        let listens = configuration.tunnels.iter().flat_map(|tunnel| &tunnel.listen);
        let listens = listens.chain(&configuration.process.metrics);
        sandbox.sockets.extend(listens.filter_map(|listen| match listen {
            Listen::Unix { path, .. } => Some(directory(path)),
            _ => None,
        }));
        sandbox
    }

    /// The resolver of the system reads its settings, which other programs replace, and loads libraries.
    fn looks_up_names(&mut self) {
        let resolver = fs::canonicalize("/etc/resolv.conf").ok().map(|file| directory(&file));
        self.read.extend(resolver);
        self.read.extend(["/etc"].iter().chain(LIBRARIES).map(PathBuf::from));
        self.servers.push(DNS_PORT);
    }

    /// Whether what the other one opens of devices can be opened in this one.
    pub fn reaches(&self, other: &Sandbox) -> bool {
        let has = |own: &[PathBuf], all: &[PathBuf]| all.iter().all(|it| own.contains(it));
        has(&self.ttys, &other.ttys)
            && has(&self.read, &other.read)
            && other.servers.iter().all(|port| self.servers.contains(port))
    }

    /// Enters the sandbox, for good. Returns whether the kernel has one. Only this thread and those that it starts
    /// are in it.
    ///
    /// # Errors
    /// The kernel has Landlock, but refuses it.
    pub fn enter(&self) -> Result<bool, RulesetError> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let devices = read | AccessFs::WriteFile | AccessFs::IoctlDev;
        let write = AccessFs::ReadFile
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::RemoveFile;
        let sockets = AccessFs::MakeSock | AccessFs::RemoveFile;
        let net = match self.listens_anew {
            true => BitFlags::from(AccessNet::ConnectTcp),
            false => AccessNet::ConnectTcp | AccessNet::BindTcp,
        };
        // What the kernel does not know yet is left out.
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(net)?
            .scope(Scope::Signal)?
            .create()?;
        let system: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        let dev = [PathBuf::from("/dev")];
        for (directories, access) in [
            (&system[..], read),
            (&dev, devices),
            (&self.ttys, devices),
            (&self.read, read),
            (&self.write, write),
            (&self.sockets, sockets),
        ] {
            for directory in directories {
                // What is not there cannot be opened either.
                if let Ok(directory) = PathFd::new(directory) {
                    rules = rules.add_rule(PathBeneath::new(directory, access))?;
                }
            }
        }
        for port in &self.servers {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
    }
}

/// The directory of a file.
pub fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => file.to_owned(),
    }
}

/// The newest kernel interface whose rights are all known here.
const NEWEST: ABI = ABI::V5;

/// Where modems are found, and the programs that hold their ports, and what became of clients.
const SYSTEM: &[&str] = &["/sys", "/proc"];

const ACCOUNTS: &[&str] = &["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];
const LIBRARIES: &[&str] = &["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"];

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;
    use std::process::Command;
    use std::thread;

    use super::*;
    use crate::config::Modem;
    use crate::daemon::data_usage;

    #[test]
    fn nothing_else_can_be_opened() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["read", "write", "sockets", "outside"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("old"), "old").unwrap();
        }
        let servers = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [allowed, other] = servers.each_ref().map(|server| server.local_addr().unwrap());
        let sandbox = Sandbox {
            read: vec![at("read"), at("missing")],
            write: vec![at("write")],
            sockets: vec![at("sockets")],
            servers: vec![allowed.port()],
            ..Sandbox::default()
        };
        // The other threads stay outside.
        let inside = || {
            if !sandbox.enter().unwrap() {
                eprintln!("skipped: this kernel has no Landlock");
                return;
            }
            let denied = |result: Result<(), std::io::Error>| {
                assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied));
            };
            let root = PathBuf::from(format!("/proc/{}/root", std::process::id()));
            for path in [at("outside/old"), at("sockets/old"), root.join("etc/passwd"), "/etc/passwd".into()]
            {
                denied(fs::read(&path).map(drop));
                denied(fs::OpenOptions::new().append(true).open(&path).map(drop));
            }
            for directory in ["outside", "read", "sockets"] {
                denied(fs::write(at(directory).join("new"), ""));
                denied(data_usage::replace(&at(directory).join("old"), b"new"));
            }
            denied(fs::read_dir("/").map(drop));
            denied(fs::remove_file(at("read/old")));
            denied(fs::rename(at("write/old"), at("outside/new")));
            denied(UnixListener::bind(at("write/socket")).map(drop));
            denied(Command::new("/bin/true").spawn().map(drop));

            assert_eq!(fs::read(at("read/old")).unwrap(), b"old");
            data_usage::replace(&at("write/old"), b"new").unwrap();
            assert_eq!(fs::read(at("write/old")).unwrap(), b"new");
            fs::rename(at("write/old"), at("write/older")).unwrap();
            drop(UnixListener::bind(at("sockets/new")).unwrap());
            fs::remove_file(at("sockets/new")).unwrap();
            fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
            fs::read_dir("/sys/class").unwrap();
            fs::read("/proc/locks").unwrap();
            TcpStream::connect(allowed).unwrap();
            // Ports came later to Landlock than files.
            match TcpStream::connect(other) {
                Ok(_) => eprintln!("this kernel's Landlock does not know ports"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                    denied(TcpListener::bind("127.0.0.1:0").map(drop));
                }
            }
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap();
        fs::read("/etc/passwd").unwrap();
    }

    #[test]
    fn it_has_what_the_configuration_names() {
        let parse = |device: &str| device.parse::<Device>().unwrap();
        let mut configuration = Configuration {
            modems: vec![
                Modem::on(vec![parse("/dev/ttyUSB2"), parse("/run/modem/tty*")]),
                Modem::on(vec![parse("tcp://192.0.2.1:2217")]),
            ],
            tunnels: Vec::new(),
            process: Default::default(),
        };
        let sandbox = Sandbox::new(&configuration, &[]);
        let expected =
            Sandbox { ttys: vec!["/run/modem/".into()], servers: vec![2217], ..Sandbox::default() };
        assert_eq!(sandbox, expected);

        let dev = [Modem::on(vec![parse("/dev/ttyUSB3")]), Modem::on(vec![parse("/run/modem/ttyS1")])];
        let outside = ["/run/other/ttyS1", "tcp://[::1]:2218"].map(|it| Modem::on(vec![parse(it)]));
        let reaches = |modem: &Modem| {
            let other = Configuration { modems: vec![modem.clone()], ..configuration.clone() };
            sandbox.reaches(&Sandbox::new(&other, &[]))
        };
        assert_eq!((dev.each_ref().map(reaches), outside.each_ref().map(reaches)), ([true; 2], [false; 2]));

        configuration.modems = vec![Modem::on(vec![parse("tcp://modem.example:2217"), parse("./ttyUSB2")])];
        let sandbox = Sandbox::new(&configuration, &["run.toml".into()]);
        assert_eq!((sandbox.ttys, sandbox.servers), (vec![".".into()], vec![2217, DNS_PORT]));
        assert!(sandbox.read.contains(&".".into()) && sandbox.read.contains(&"/etc".into()));
    }
}
