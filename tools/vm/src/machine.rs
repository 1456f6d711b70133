//! QEMU, started and bounded.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// What a machine is made of.
pub(crate) struct Machine<'a> {
    /// The kernel.
    pub(crate) kernel: &'a Path,
    /// Its first root file system.
    pub(crate) initramfs: &'a Path,
    /// MiB.
    pub(crate) memory: u32,
    /// How long it may run.
    pub(crate) limit: Duration,
    /// Whether the terminal is connected to it.
    pub(crate) interactive: bool,
}

/// What `timeout(1)` answers.
const TOOK_TOO_LONG: i32 = 124;

/// What the kernel is told. On a busy host its first timer ticks may come too late for its own test of them, after which it
/// would give up: so it takes them on trust.
const COMMAND_LINE: &str = "console=ttyS1 loglevel=5 panic=-1 cgroup_no_v1=all swapaccount=1 no_timer_check";

impl Machine<'_> {
    /// Boots, and returns the command's exit code once the machine has switched itself off.
    pub(crate) fn run(&self, work: &Path) -> anyhow::Result<i32> {
        let console = work.join("console");
        let mut machine = self.start(&console)?;
        let in_time = self.wait(&mut machine)?;
        let told = fs::read_to_string(&console).unwrap_or_default();
        let code = told.lines().find_map(|line| line.trim().strip_prefix("vm-exit ")?.parse().ok());
        match code {
            Some(code) => Ok(code),
            None => {
                let skip = told.lines().count().saturating_sub(25);
                told.lines().skip(skip).for_each(|line| eprintln!("vm: console: {}", line.trim_end()));
                if in_time {
                    anyhow::bail!("the machine stopped without an exit code")
                }
                eprintln!("vm: switched off after {} s", self.limit.as_secs());
                Ok(TOOK_TOO_LONG)
            }
        }
    }

    fn start(&self, console: &Path) -> anyhow::Result<Child> {
        let first_line = if self.interactive { "mon:stdio" } else { "stdio" };
        let mut qemu = Command::new("qemu-system-x86_64");
        // Without /dev/kvm, or inside another machine, every instruction is translated: slow, and it always works.
        qemu.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-nodefaults", "-no-reboot", "-display", "none"])
            .args(["-m", &self.memory.to_string()])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", COMMAND_LINE])
            .args(["-serial", first_line, "-serial"])
            .arg(format!("file:{}", console.display()));
        if !self.interactive {
            qemu.stdin(Stdio::null());
        }
        qemu.spawn().context("start qemu-system-x86_64 (apt-get install --no-install-recommends qemu-system-x86)")
    }

    /// Whether it ended by itself in time; if not, it is ended.
    fn wait(&self, machine: &mut Child) -> anyhow::Result<bool> {
        let deadline = Instant::now() + self.limit;
        while self.interactive || Instant::now() < deadline {
            if machine.try_wait().context("wait for QEMU")?.is_some() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        machine.kill().context("end QEMU")?;
        machine.wait().context("wait for QEMU")?;
        Ok(false)
    }
}
