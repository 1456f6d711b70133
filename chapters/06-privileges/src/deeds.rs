//! What root may do, tried for real: each deed is one harmless call, made inside namespaces of its own.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use privileges::{Confinement, Step};

/// A deed: what it is called, what it needs, and the call.
type Deed = (&'static str, &'static str, fn() -> Result<(), Errno>);

const DEEDS: [Deed; 12] = [
    ("give a file away", "CAP_CHOWN", give_away),
    ("enter a root directory", "CAP_SYS_CHROOT", || nix::unistd::chroot("/")),
    ("bind port 1 of the loopback", "CAP_NET_BIND_SERVICE", || failure(std::net::TcpListener::bind("127.0.0.1:1"))),
    ("open a raw socket", "CAP_NET_RAW", || open(AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Icmp))),
    ("make a device node", "CAP_MKNOD", make_node),
    ("raise its own priority", "CAP_SYS_NICE", || {
        rustix::process::setpriority_process(None, -5).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
    }),
    ("name the machine", "CAP_SYS_ADMIN", || nix::unistd::sethostname(nix::unistd::gethostname()?)),
    ("prepare a mount", "CAP_SYS_ADMIN", || {
        let opened = rustix::mount::fsopen("tmpfs", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC);
        opened.map(drop).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
    }),
    ("join a namespace", "CAP_SYS_ADMIN", || {
        let namespace = File::open("/proc/self/ns/uts").map_err(|error| raw(&error))?;
        setns(namespace, CloneFlags::CLONE_NEWUTS)
    }),
    ("reach the kernel's crypto code", "nothing", || open(AddressFamily::Alg, SockType::SeqPacket, None)),
    ("make a user namespace", "nothing", || unshare(CloneFlags::CLONE_NEWUSER)),
    ("leave its shared file table", "nothing", || unshare(CloneFlags::CLONE_FILES)),
];

/// Runs the deeds twice, as the caller and confined, and prints what became of each.
pub(crate) fn compare(confinement: &Confinement) -> anyhow::Result<()> {
    let before = outcomes(&[])?;
    let after = outcomes(&confinement.steps())?;
    println!("{:<32} {:<22} {:<14} after", "deed", "needs", "before");
    for (deed, (before, after)) in DEEDS.iter().zip(before.lines().zip(after.lines())) {
        println!("{:<32} {:<22} {before:<14} {after}", deed.0, deed.1);
    }
    Ok(())
}

/// Does every deed of [`DEEDS`] and prints a line for each: `ok`, or the errno.
pub(crate) fn try_all() {
    for (_, _, deed) in DEEDS {
        match deed() {
            Ok(()) => println!("ok"),
            Err(errno) => println!("{errno:?}"),
        }
    }
}

fn outcomes(confining: &[Step]) -> anyhow::Result<String> {
    let descriptor: OwnedFd = rustix::fs::memfd_create("deeds", rustix::fs::MemfdFlags::CLOEXEC)?;
    let program = std::env::current_exe().context("find this program")?.into_os_string();
    let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET;
    super::start(vec![program, "deeds".into()], confining, namespaces as u64, Some(&descriptor))?;
    let mut file = File::from(descriptor);
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn give_away() -> Result<(), Errno> {
    let path = scratch("file");
    let file = File::create(&path).map_err(|error| raw(&error))?;
    let given = nix::unistd::fchown(&file, Some(1.into()), None);
    fs::remove_file(&path).map_err(|error| raw(&error))?;
    given
}

fn make_node() -> Result<(), Errno> {
    let path = scratch("node");
    mknod(&path, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 3))?;
    fs::remove_file(&path).map_err(|error| raw(&error))
}

fn open(family: AddressFamily, kind: SockType, protocol: Option<SockProtocol>) -> Result<(), Errno> {
    socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).map(drop)
}

/// A path in the temporary directory that nobody else uses.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ch06-{name}-{}", std::process::id()))
}

fn failure<T>(result: std::io::Result<T>) -> Result<(), Errno> {
    result.map(drop).map_err(|error| raw(&error))
}

fn raw(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
