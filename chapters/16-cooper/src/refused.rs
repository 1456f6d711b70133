//! Flags of docker's that this engine cannot honour, and why not.
//!
//! They are known, so that the answer is a reason and not a guess at a slip of the pen; they are hidden, because
//! nobody needs a flag that does not work.

use anyhow::bail;
use clap::Args;

/// What cannot be had.
#[derive(Args, Debug)]
pub(crate) struct Refused {
    #[arg(long, hide = true)]
    gpus: Option<String>,
    #[arg(long, hide = true)]
    runtime: Option<String>,
    #[arg(long, hide = true)]
    link: Vec<String>,
    #[arg(long, hide = true)]
    link_local_ip: Vec<String>,
    #[arg(long, hide = true)]
    isolation: Option<String>,
    #[arg(long, hide = true)]
    kernel_memory: Option<String>,
    #[arg(long, hide = true)]
    storage_opt: Vec<String>,
    #[arg(long, hide = true)]
    use_api_socket: bool,
}

impl Refused {
    /// Names the first flag that was given.
    ///
    /// # Errors
    /// There is one.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let given = [
            (
                self.gpus.is_some(),
                "--gpus",
                "the vendor's hook and its libraries would have to be on this machine; give the nodes with --device",
            ),
            (
                self.runtime.is_some(),
                "--runtime",
                "a container's monitor starts it by a call of chapter 7, not by a program; `cooper-runtime` is that \
                 chapter as a program, for other engines",
            ),
            (
                !self.link.is_empty(),
                "--link",
                "containers of one network find each other by name: `cooper network create`",
            ),
            (!self.link_local_ip.is_empty(), "--link-local-ip", "the kernel gives link-local addresses by itself"),
            (self.isolation.is_some(), "--isolation", "it is of Windows"),
            (self.kernel_memory.is_some(), "--kernel-memory", "no kernel since Linux 5.16 has such a limit"),
            (
                !self.storage_opt.is_empty(),
                "--storage-opt",
                "overlayfs has no quota of its own; give a volume of a fixed size",
            ),
            (self.use_api_socket, "--use-api-socket", "there is no daemon whose socket could be given"),
        ];
        match given.into_iter().find(|(given, ..)| *given) {
            Some((_, flag, reason)) => bail!("{flag} is not supported: {reason}"),
            None => Ok(()),
        }
    }
}
