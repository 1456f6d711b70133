//! What chapter 5's exercises call: pure functions, which say what would be written to the kernel, and to which file.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use cgroups::{CgroupPath, DeviceKind, DeviceProgram, DeviceRequest, DeviceRule, Limits, Version};

/// `path TEXT` reads a group's name; `limits v1|v2 JSON` prints the files of limits; `devices JSON REQUEST...` answers
/// requests of the form `c 1:3 rw`.
fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["path", text] => match text.parse::<CgroupPath>() {
            Ok(path) => println!("{path}"),
            Err(error) => println!("refused: {error}"),
        },
        ["limits", version, text] => {
            let numbers: BTreeMap<String, i64> = serde_json::from_str(text)?;
            let number = |name: &str| numbers.get(name).copied();
            let limits = Limits {
                memory: number("memory").map(i64::cast_unsigned),
                memory_swap: number("memory_swap"),
                cpu_quota_us: number("cpu_quota_us"),
                cpu_period_us: number("cpu_period_us").map(i64::cast_unsigned),
                pids: number("pids"),
                unified: number("memory.max")
                    .map(|bytes| ("memory.max".to_owned(), bytes.to_string()))
                    .into_iter()
                    .collect(),
                ..Limits::default()
            };
            let version = if version == "v1" { Version::V1 } else { Version::V2 };
            limits.files(version).iter().for_each(|setting| println!("{} {}", setting.file, setting.value));
        }
        ["devices", rules, ref requests @ ..] => {
            let rules: Vec<DeviceRule> = serde_json::from_str(rules)?;
            let program = DeviceProgram::of(&rules);
            for request in requests {
                let (kind, rest) = request.split_once(' ').context("a kind")?;
                let (number, access) = rest.split_once(' ').context("an access")?;
                let (major, minor) = number.split_once(':').context("a number")?;
                let kind = if kind == "b" { DeviceKind::Block } else { DeviceKind::Character };
                let request = DeviceRequest { kind, major: major.parse()?, minor: minor.parse()?, access };
                println!("{}", if program.permits(&request) { "yes" } else { "no" });
            }
        }
        _ => bail!("path, limits or devices"),
    }
    Ok(())
}
