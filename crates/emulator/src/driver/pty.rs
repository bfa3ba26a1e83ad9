//! A pseudoterminal as a serial port of the modem: the host opens its slave like any tty.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Termios, ioctl_tiocnxcl, tcgetattr, tcsetattr};

/// The modem's end of a pseudoterminal.
pub(super) struct Pty {
    master: File,
    /// Kept open, so that a host that closes it does not look like a broken line.
    slave: OwnedFd,
    /// Reports when a host has closed the slave.
    watch: OwnedFd,
    path: PathBuf,
    link: Option<PathBuf>,
}

impl Pty {
    /// Makes a pseudoterminal, raw, set to `baud`, and a symbolic link to its slave if asked.
    pub(super) fn new(link: Option<&Path>, baud: u32) -> anyhow::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .context("no pseudoterminal is available")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(OsString::from_vec(ptsname(&master, Vec::new())?.into_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave =
            open(&path, flags, Mode::empty()).with_context(|| format!("cannot open {}", path.display()))?;
        let mut attributes = tcgetattr(&slave)?;
        attributes.make_raw();
        attributes.set_speed(baud).with_context(|| format!("no pseudoterminal has {baud} baud"))?;
        tcsetattr(&slave, OptionalActions::Now, &attributes)?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).context("no inotify")?;
        inotify::add_watch(&watch, &path, WatchFlags::CLOSE_WRITE)
            .with_context(|| format!("cannot watch {}", path.display()))?;
        let mut pty = Pty { master: File::from(master), slave, watch, path, link: None };
        if let Some(link) = link {
            place_link(&pty.path, link)?;
            pty.link = Some(link.to_owned());
        }
        Ok(pty)
    }

    /// The link, where there is one.
    pub(super) fn link(&self) -> Option<&Path> {
        self.link.as_deref()
    }

    /// What the host opens: the link where there is one.
    pub(super) fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.path)
    }

    /// Registers the master under the first token, and the watch under the second.
    pub(super) fn register(&self, registry: &Registry, tokens: [Token; 2]) -> io::Result<()> {
        let (line, watch) = (self.master.as_raw_fd(), self.watch.as_raw_fd());
        registry.register(&mut SourceFd(&line), tokens[0], Interest::READABLE | Interest::WRITABLE)?;
        registry.register(&mut SourceFd(&watch), tokens[1], Interest::READABLE)
    }

    /// The watch has an event: a host has closed the slave. On a real port its claim (TIOCEXCL)
    /// would end with that; here the slave stays open, and the claim would lock out the next host.
    pub(super) fn host_closed(&mut self) {
        let mut buffer = [0; 512];
        while rustix::io::read(&self.watch, &mut buffer).is_ok_and(|count| count > 0) {}
        if let Err(error) = ioctl_tiocnxcl(&self.slave) {
            log::warn!("{} may stay locked: {error}", self.path.display());
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.master.read(buffer)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.master.write(bytes)
    }

    /// The speed that the host has set, in baud.
    pub(super) fn host_baud(&self) -> Option<u32> {
        tcgetattr(&self.slave).ok().as_ref().map(Termios::output_speed)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Some(link) = &self.link
            && std::fs::read_link(link).is_ok_and(|target| target == self.path)
        {
            // Failing leaves a dangling link, which the next start replaces.
            let _ = std::fs::remove_file(link);
        }
    }
}

/// Replaces a symbolic link, and nothing else.
fn place_link(target: &Path, link: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(link) {
        Ok(metadata) if metadata.is_symlink() => std::fs::remove_file(link)
            .with_context(|| format!("cannot replace the link {}", link.display()))?,
        Ok(_) => {
            bail!("{} exists and is not a symbolic link, remove it or give another --link", link.display())
        }
        Err(_) => {}
    }
    symlink(target, link).with_context(|| format!("cannot make the link {}", link.display()))
}
