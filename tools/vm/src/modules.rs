//! Which kernel modules a container engine needs, and in which order they must be loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Overlays and what stands in for them, disks that are files, virtual cables, bridges, and the firewall's parts that a published port uses.
const WANTED: [&str; 16] = [
    "overlay",
    "fuse",
    "loop",
    "veth",
    "bridge",
    "br_netfilter",
    "dummy",
    "tun",
    "nf_tables",
    "nft_nat",
    "nft_masq",
    "nft_chain_nat",
    "nft_ct",
    "nft_fib_ipv4",
    "nft_fib_inet",
    "nf_conntrack",
];

/// The modules in loading order: what one depends on comes before it. A module that is built in has no file.
pub(crate) fn in_loading_order(modules: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    find(&modules.join("kernel"), &mut files)?;
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    for name in WANTED {
        visit(name, &files, &mut seen, &mut order)?;
    }
    Ok(order)
}

fn visit(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<PathBuf>,
) -> anyhow::Result<()> {
    let Some(file) = files.get(name).filter(|_| seen.insert(name.to_owned())) else { return Ok(()) };
    let contents = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    for dependency in depends(&contents) {
        visit(&dependency, files, seen, order)?;
    }
    order.push(file.clone());
    Ok(())
}

/// The `depends=` entry of a module's `.modinfo` section: names separated by commas, ended by a NUL.
fn depends(module: &[u8]) -> Vec<String> {
    let marker = b"\0depends=";
    let Some(start) = module.windows(marker.len()).position(|window| window == marker) else { return Vec::new() };
    let list = module[start + marker.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(list)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

fn find(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".ko")) {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::depends;

    #[test]
    fn a_modules_dependencies_are_read_from_its_own_notes() {
        assert_eq!(depends(b"ELF..\0license=GPL\0depends=nf-nat,x_tables\0retpoline=Y\0"), ["nf_nat", "x_tables"]);
        assert!(depends(b"\0depends=\0").is_empty());
        assert!(depends(b"no notes").is_empty());
    }
}
