//! One capability, and a set of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Capabilities, Error};

/// Declares [`Capability`] from one table, so that name, number and meaning cannot drift apart.
macro_rules! capabilities {
    ($($name:ident = $number:literal $text:literal $meaning:literal;)+) => {
        /// A piece of root's power. The numbers are the kernel's (`linux/capability.h`).
        ///
        /// # References
        /// capabilities(7)
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Capability {
            $(#[doc = $meaning] $name = $number,)+
        }

        impl Capability {
            /// Every capability that this engine knows, by number.
            pub const ALL: &[Capability] = &[$(Capability::$name,)+];

            /// The kernel's name: `CAP_SYS_ADMIN`.
            pub const fn name(self) -> &'static str {
                match self { $(Capability::$name => $text,)+ }
            }

            /// What its owner may do, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Capability::$name => $meaning,)+ }
            }
        }
    };
}

capabilities! {
    Chown = 0 "CAP_CHOWN" "give files away";
    DacOverride = 1 "CAP_DAC_OVERRIDE" "ignore file permission bits";
    DacReadSearch = 2 "CAP_DAC_READ_SEARCH" "read any file, open files by handle (the 2014 `shocker` escape)";
    Fowner = 3 "CAP_FOWNER" "act as the owner of any file";
    Fsetid = 4 "CAP_FSETID" "keep setuid bits when a file is changed";
    Kill = 5 "CAP_KILL" "send signals to any process in sight";
    Setgid = 6 "CAP_SETGID" "change group ids";
    Setuid = 7 "CAP_SETUID" "change user ids";
    Setpcap = 8 "CAP_SETPCAP" "drop from the bounding set, add to the inheritable set";
    LinuxImmutable = 9 "CAP_LINUX_IMMUTABLE" "set the immutable and append-only attributes";
    NetBindService = 10 "CAP_NET_BIND_SERVICE" "bind ports below 1024";
    NetBroadcast = 11 "CAP_NET_BROADCAST" "broadcast, listen to multicast";
    NetAdmin = 12 "CAP_NET_ADMIN" "configure the network";
    NetRaw = 13 "CAP_NET_RAW" "raw and packet sockets: forge and overhear frames on the bridge";
    IpcLock = 14 "CAP_IPC_LOCK" "lock memory";
    IpcOwner = 15 "CAP_IPC_OWNER" "ignore permissions of System V objects";
    SysModule = 16 "CAP_SYS_MODULE" "load kernel modules: the whole machine";
    SysRawio = 17 "CAP_SYS_RAWIO" "ports, /dev/mem, raw disk commands";
    SysChroot = 18 "CAP_SYS_CHROOT" "chroot, enter mount namespaces";
    SysPtrace = 19 "CAP_SYS_PTRACE" "trace any process in sight";
    SysPacct = 20 "CAP_SYS_PACCT" "switch process accounting";
    SysAdmin = 21 "CAP_SYS_ADMIN" "mount, setns, and a hundred other things: the new root";
    SysBoot = 22 "CAP_SYS_BOOT" "reboot, kexec";
    SysNice = 23 "CAP_SYS_NICE" "raise priorities, move memory between nodes";
    SysResource = 24 "CAP_SYS_RESOURCE" "exceed resource limits and quotas";
    SysTime = 25 "CAP_SYS_TIME" "set the clock";
    SysTtyConfig = 26 "CAP_SYS_TTY_CONFIG" "hang up terminals";
    Mknod = 27 "CAP_MKNOD" "make device nodes";
    Lease = 28 "CAP_LEASE" "leases on any file";
    AuditWrite = 29 "CAP_AUDIT_WRITE" "write to the kernel's audit log";
    AuditControl = 30 "CAP_AUDIT_CONTROL" "configure auditing";
    Setfcap = 31 "CAP_SETFCAP" "give files capabilities";
    MacOverride = 32 "CAP_MAC_OVERRIDE" "override Smack";
    MacAdmin = 33 "CAP_MAC_ADMIN" "configure Smack";
    Syslog = 34 "CAP_SYSLOG" "read the kernel's log and addresses";
    WakeAlarm = 35 "CAP_WAKE_ALARM" "wake the machine";
    BlockSuspend = 36 "CAP_BLOCK_SUSPEND" "keep the machine awake";
    AuditRead = 37 "CAP_AUDIT_READ" "read the audit log";
    Perfmon = 38 "CAP_PERFMON" "performance monitoring";
    Bpf = 39 "CAP_BPF" "load BPF programs";
    CheckpointRestore = 40 "CAP_CHECKPOINT_RESTORE" "choose pids, read other processes' maps";
}

impl Capability {
    /// The capability with this number, if we know it.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    const fn bit(self) -> u64 {
        1 << self as u8
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Accepts `CAP_NET_RAW`, `NET_RAW` and `net_raw`, as `docker run --cap-add` does.
impl FromStr for Capability {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        Self::ALL
            .iter()
            .copied()
            .find(|capability| capability.name().strip_prefix("CAP_") == Some(bare))
            .ok_or_else(|| Error::UnknownCapability(text.to_owned()))
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of capabilities: one bit each, as the kernel has it. In JSON a list of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability at all.
    pub const EMPTY: CapSet = CapSet(0);

    /// All that this engine knows. For `--privileged` see [`CapSet::obtainable`].
    pub fn all() -> Self {
        Self::from_iter(Capability::ALL.iter().copied())
    }

    /// All that this process could give away: its own bounding set.
    ///
    /// This is what `--privileged` and `--cap-add ALL` mean: inside another container, or on a machine that has
    /// taken a capability from everybody, more than that would only be refused by the kernel.
    pub fn obtainable() -> Self {
        Capabilities::of("self").map_or_else(|_| Self::all(), |sets| sets.bounding.and(Self::all()))
    }

    /// What Docker gives a container: fourteen.
    ///
    /// Cooper gives eleven ([`CapSet::engine_default`]); this one is for comparison.
    pub fn docker() -> Self {
        use Capability::{AuditWrite, Mknod, NetRaw};
        Self::engine_default().with(NetRaw).with(Mknod).with(AuditWrite)
    }

    /// What a container has unless it asks for more: eleven capabilities.
    ///
    /// Docker's fourteen without NET_RAW (ARP and DNS forging on the bridge: CVE-2020-14386 needed it), MKNOD
    /// (device nodes in images and volumes) and AUDIT_WRITE (lines in the host's audit log).
    pub fn engine_default() -> Self {
        use Capability::*;
        Self::from_iter([
            Chown,
            DacOverride,
            Fsetid,
            Fowner,
            Setgid,
            Setuid,
            Setpcap,
            NetBindService,
            SysChroot,
            Kill,
            Setfcap,
        ])
    }

    /// A set from the kernel's mask; bits that we do not know are kept.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The kernel's mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether the set has this capability.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Whether the set has nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set and one more.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// The set and one less.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !capability.bit())
    }

    /// What both sets have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What either set has.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The capabilities in the set, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |capability| self.contains(*capability))
    }

    /// `--cap-add` and `--cap-drop` applied as `docker run` does: `ALL` first, then names; a name that is both
    /// added and dropped is dropped, except that `--cap-drop ALL --cap-add X` leaves X.
    ///
    /// # Errors
    /// A name that is no capability.
    pub fn adjusted(self, add: &[String], drop: &[String]) -> Result<Self, Error> {
        let is_all = |name: &String| name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case("cap_all");
        let drops_all = drop.iter().any(is_all);
        let base = match (drops_all, add.iter().any(is_all)) {
            (_, true) => Self::obtainable(),
            (true, false) => Self::EMPTY,
            (false, false) => self,
        };
        let mut set = base;
        for name in add.iter().filter(|name| !is_all(name)) {
            set = set.with(name.parse()?);
        }
        for name in drop.iter().filter(|name| !is_all(name)) {
            set = set.without(name.parse()?);
        }
        Ok(set)
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(iter: I) -> Self {
        iter.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// Names separated by commas or spaces; `ALL` and the empty string too.
impl FromStr for CapSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::all());
        }
        text.split([',', ' ']).filter(|name| !name.is_empty()).map(str::parse).collect()
    }
}

impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("(none)");
        }
        let names: Vec<_> = self.iter().map(|capability| capability.name().trim_start_matches("CAP_")).collect();
        f.write_str(&names.join(" "))
    }
}

impl Serialize for CapSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for CapSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Capability>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_numbers_have_no_gap() {
        for (number, capability) in Capability::ALL.iter().enumerate() {
            assert_eq!(*capability as usize, number);
        }
        assert_eq!(Capability::ALL.len(), 41);
    }

    #[test]
    fn a_name_is_read_with_or_without_its_prefix() {
        for text in ["CAP_NET_RAW", "NET_RAW", "net_raw", "cap_net_raw"] {
            assert_eq!(text.parse::<Capability>().unwrap(), Capability::NetRaw);
        }
        assert!("CAP_CAP_NET_RAW".parse::<Capability>().is_err());
        assert!("".parse::<Capability>().is_err());
    }

    #[test]
    fn the_default_is_eleven_and_dockers_fourteen() {
        assert_eq!(CapSet::engine_default().iter().count(), 11);
        assert_eq!(CapSet::docker().bits(), 0xa804_25fb);
    }

    #[test]
    fn dropping_all_and_adding_one_leaves_one() {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let set = CapSet::engine_default();
        let one = set.adjusted(&strings(&["NET_RAW"]), &strings(&["ALL"])).unwrap();
        assert_eq!(one, CapSet::EMPTY.with(Capability::NetRaw));
        let most = set.adjusted(&strings(&["all"]), &strings(&["sys_admin"])).unwrap();
        assert_eq!(most, CapSet::obtainable().without(Capability::SysAdmin));
        assert!(set.adjusted(&strings(&["ROOT"]), &[]).is_err());
    }
}
