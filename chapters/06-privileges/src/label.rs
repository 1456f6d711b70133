//! Labels: what AppArmor and SELinux go by.
//!
//! A security module asks for one more permission after all others, by rules that root cannot change from inside.
//! A process gets its label (AppArmor: the name of a profile) at execve, if it has written which one it wants before.
//! The rules themselves are loaded by the administrator; an engine only passes names on.
//!
//! The file to write is in `/proc`, and by then `/proc` is the container's. An image that could put something else
//! there would swallow the label, and the program would run without (CVE-2019-16884, CVE-2025-52881). So the file is
//! opened below a handle of a real procfs, and no mount may lie on the way.

use std::fmt;

use process::{CallError, During as _, step};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};

/// A security module that labels processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityModule {
    /// Profiles by path (Debian, Ubuntu, SUSE).
    AppArmor,
    /// Labels on everything (Fedora, Red Hat).
    SELinux,
}

impl SecurityModule {
    /// Whether it is at work on this machine.
    pub fn is_active(self) -> bool {
        match self {
            Self::AppArmor => std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|text| text.trim_end() == "Y"),
            Self::SELinux => std::path::Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }

    /// Both that there are, if they are at work.
    pub fn active() -> Vec<Self> {
        [Self::AppArmor, Self::SELinux].into_iter().filter(|module| module.is_active()).collect()
    }
}

impl fmt::Display for SecurityModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppArmor => "AppArmor",
            Self::SELinux => "SELinux",
        })
    }
}

/// A label, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Who will go by it.
    pub module: SecurityModule,
    /// The profile's name, or the label.
    pub text: String,
}

/// Longer labels than this no module takes.
const LONGEST: usize = 4096;

impl Label {
    /// A label for the program that comes; `None` if the text is empty, or says `unconfined` where nothing confines.
    ///
    /// # Errors
    /// When the module is not at work here (`is_active`): a container that was to be confined must not run without. A label with a
    /// line break or a NUL, which would be two.
    pub fn wanted(
        module: SecurityModule,
        text: &str,
        is_active: impl FnOnce(SecurityModule) -> bool,
    ) -> Result<Option<Self>, CallError> {
        if text.is_empty() {
            return Ok(None);
        }
        if !is_active(module) {
            if text == "unconfined" {
                return Ok(None);
            }
            return Err(CallError::refused("label", text, format!("{module} is not active on this machine")));
        }
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(CallError::refused("label", text, "not one line of at most 4096 bytes"));
        }
        Ok(Some(Self { module, text: text.to_owned() }))
    }

    /// The files to try, below `/proc`, and what to write.
    fn request(&self) -> (&'static [&'static str], String) {
        match self.module {
            // Since Linux 5.8 each module has a directory; before, the first one had the files.
            SecurityModule::AppArmor => {
                (&["thread-self/attr/apparmor/exec", "thread-self/attr/exec"], format!("exec {}", self.text))
            }
            SecurityModule::SELinux => (&["thread-self/attr/exec"], self.text.clone()),
        }
    }

    /// Asks for the label at the next execve.
    pub(crate) fn write(&self) -> Result<(), CallError> {
        let (files, text) = self.request();
        step!(6, "write", "proc_pid_attr(5)", "what the security module will go by", "{} {text}", self.module);
        let proc = open_proc("/proc")?;
        let mut outcome = Ok(());
        for file in files {
            let opened = rustix::fs::openat2(
                &proc,
                *file,
                OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH,
            );
            outcome =
                opened.and_then(|file| rustix::io::write(&file, text.as_bytes()).map(drop)).during("write", *file);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map_err(|error| error.with(text))
    }
}

/// A handle of `/proc`, which really is one.
fn open_proc(path: &str) -> Result<rustix::fd::OwnedFd, CallError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::open(path, flags, Mode::empty()).during("open", path)?;
    let kind = rustix::fs::fstatfs(&proc).during("statfs", path)?.f_type;
    if kind != rustix::fs::PROC_SUPER_MAGIC {
        return Err(CallError::refused("open", path, "not a procfs: a label written there would be lost"));
    }
    Ok(proc)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_label_that_nobody_would_enforce_is_refused() {
        let error = Label::wanted(SecurityModule::AppArmor, "docker-default", |_| false).unwrap_err();
        assert_eq!(error.to_string(), r#"label "docker-default": AppArmor is not active on this machine"#);
        assert_eq!(Label::wanted(SecurityModule::AppArmor, "unconfined", |_| false).unwrap(), None);
        assert_eq!(Label::wanted(SecurityModule::SELinux, "", |_| false).unwrap(), None);
        assert_eq!(Label::wanted(SecurityModule::SELinux, "a:b", |_| true).unwrap().unwrap().text, "a:b");
        assert!(Label::wanted(SecurityModule::SELinux, "a\nb", |_| true).is_err());
    }

    #[test]
    fn each_module_is_asked_in_its_own_words() {
        let label = |module| Label { module, text: "x".to_owned() };
        assert_eq!(label(SecurityModule::AppArmor).request().1, "exec x");
        assert_eq!(label(SecurityModule::SELinux).request(), (&["thread-self/attr/exec"][..], "x".to_owned()));
    }

    #[test]
    fn what_only_looks_like_proc_is_refused() {
        assert!(open_proc("/proc").is_ok());
        let error = open_proc("/tmp").unwrap_err();
        assert_eq!(error.to_string(), r#"open "/tmp": not a procfs: a label written there would be lost"#);
    }

    #[test]
    fn a_kernel_without_the_module_refuses_the_label() {
        if !SecurityModule::SELinux.is_active() && !SecurityModule::AppArmor.is_active() {
            let label = Label { module: SecurityModule::SELinux, text: "x".to_owned() };
            assert!(label.write().is_err());
        }
    }
}
