//! Where the trees are, and where in them we are: two files of `/proc`, read as text.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{Controller, Version};

/// What `/proc/self/mountinfo` and `/proc/self/cgroup` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Where a v2 tree is mounted.
    pub(crate) v2: Option<PathBuf>,
    /// Our cgroup in the v2 tree.
    pub(crate) own_v2: String,
    /// Where each v1 controller's tree is mounted.
    pub(crate) v1: BTreeMap<Controller, PathBuf>,
}

impl Survey {
    /// Reads both texts. The first mount of a tree counts; later ones are copies.
    ///
    /// # References
    /// proc_pid_mountinfo(5), cgroups(7) "/proc files"
    pub(crate) fn of(mountinfo: &str, cgroup: &str) -> Self {
        let mut survey = Survey::default();
        for line in mountinfo.lines() {
            // 31 25 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
            let Some((mount, source)) = line.split_once(" - ") else { continue };
            let Some(point) = mount.split(' ').nth(4) else { continue };
            let point = || PathBuf::from(unescaped(point));
            let mut source = source.split(' ');
            match (source.next(), source.nth(1)) {
                (Some("cgroup2"), _) => {
                    survey.v2.get_or_insert_with(point);
                }
                (Some("cgroup"), Some(options)) => {
                    for option in options.split(',') {
                        let named = |controller: &Controller| controller.name_in(Version::V1) == option;
                        if let Some(controller) = Controller::ALL.into_iter().find(named) {
                            survey.v1.entry(controller).or_insert_with(point);
                        }
                    }
                }
                _ => {}
            }
        }
        let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
        survey.own_v2 = own.unwrap_or("/").to_owned();
        survey
    }
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescaped(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    text.replace(r"\040", " ").replace(r"\011", "\t").replace(r"\012", "\n").replace(r"\134", r"\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_has_both() {
        let mountinfo = "30 25 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            32 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            33 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            34 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            35 30 0:29 / /mnt/copy\\040two rw - cgroup cgroup rw,memory\n";
        let survey = Survey::of(mountinfo, "4:memory:/a\n0::/user.slice\n");
        assert_eq!(survey.v2, Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(survey.own_v2, "/user.slice");
        assert_eq!(survey.v1[&Controller::Cpuacct], PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(survey.v1[&Controller::Memory], PathBuf::from("/sys/fs/cgroup/memory"));
        assert_eq!(survey.v1.len(), 3);
    }

    #[test]
    fn nothing_mounted_is_nothing_found() {
        let survey = Survey::of("garbage\n1 2 3\n - cgroup\n", "");
        assert_eq!(survey, Survey { own_v2: "/".to_owned(), ..Survey::default() });
    }
}
