//! Huge pages, by size: they are set apart from the rest of memory, and so are their limits.

use process::CallError;
use serde::{Deserialize, Serialize};

use super::{Controller, IfMissing, Read, Setting, number};
use crate::Limits;
use crate::stats::HugetlbStats;

/// The limit of one size of huge pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugetlbLimit {
    /// The size as the kernel writes it in file names: `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes.
    pub bytes: u64,
}

pub(super) fn on_v2(limits: &Limits) -> Vec<Setting> {
    on_either(limits, "max")
}

pub(super) fn on_v1(limits: &Limits) -> Vec<Setting> {
    on_either(limits, "limit_in_bytes")
}

/// Pages can be reserved (by `mmap`) before they are touched, and counted at either moment. Whoever reserves more than it
/// may use is killed by SIGBUS when it touches them; counted at the reservation (Linux 5.7), `mmap` answers ENOMEM.
fn on_either(limits: &Limits, word: &str) -> Vec<Setting> {
    let pair = |limit: &HugetlbLimit| {
        ["", "rsvd."].map(|moment| {
            let file = format!("hugetlb.{}.{moment}{word}", limit.page_size);
            let if_missing = if moment.is_empty() { IfMissing::Fail } else { IfMissing::GoWithout };
            Setting::new(Controller::Hugetlb, file, limit.bytes).or(if_missing)
        })
    };
    limits.hugetlb.iter().flat_map(pair).collect()
}

pub(super) fn counted_by_v2(read: &Read<'_>, page_sizes: &[String]) -> Result<Vec<HugetlbStats>, CallError> {
    let of = |page_size: &String| {
        let file = |word: &str| format!("hugetlb.{page_size}.{word}");
        let Some(usage) = number(read, Controller::Hugetlb, &file("current"))? else { return Ok(None) };
        let limit = number(read, Controller::Hugetlb, &file("max"))?;
        let events = read(Controller::Hugetlb, &file("events"))?.unwrap_or_default();
        let refused = crate::file::table(&events).get("max").copied().unwrap_or(0);
        Ok(Some(HugetlbStats { page_size: page_size.clone(), usage, limit, refused }))
    };
    page_sizes.iter().filter_map(|size| of(size).transpose()).collect()
}

pub(super) fn counted_by_v1(read: &Read<'_>, page_sizes: &[String]) -> Result<Vec<HugetlbStats>, CallError> {
    let of = |page_size: &String| {
        let file = |word: &str| format!("hugetlb.{page_size}.{word}");
        let Some(usage) = number(read, Controller::Hugetlb, &file("usage_in_bytes"))? else { return Ok(None) };
        let limit = number(read, Controller::Hugetlb, &file("limit_in_bytes"))?;
        let refused = number(read, Controller::Hugetlb, &file("failcnt"))?.unwrap_or(0);
        Ok(Some(HugetlbStats { page_size: page_size.clone(), usage, limit, refused }))
    };
    page_sizes.iter().filter_map(|size| of(size).transpose()).collect()
}

/// The kernel's word for a size that `/sys/kernel/mm/hugepages` names `hugepages-2048kB`.
pub(crate) fn page_size_of(directory: &str) -> Option<String> {
    let kibibytes: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kibibytes {
        kib if kib >= 1 << 20 => format!("{}GB", kib >> 20),
        kib if kib >= 1 << 10 => format!("{}MB", kib >> 10),
        kib => format!("{kib}KB"),
    })
}

#[cfg(test)]
mod tests {
    use super::page_size_of;

    #[test]
    fn page_sizes_have_the_names_of_their_files() {
        let sizes = ["hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB", "other"].map(page_size_of);
        assert_eq!(sizes, [Some("64KB".into()), Some("2MB".into()), Some("1GB".into()), None]);
    }
}
