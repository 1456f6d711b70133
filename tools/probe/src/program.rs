//! What a process can see of its confinement. Compiled twice: as a static program, and as a module of `probe`.
//!
//! Only std, no allocator tricks, no unsafe: everything comes from `/proc` and `/sys`, and what cannot be read is
//! `null` with the reason beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};

/// A value of the report.
enum Value {
    Null,
    Number(i64),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

pub(crate) fn main() {
    let report = report();
    let mut text = String::new();
    let mode = std::env::args().nth(1);
    match mode.as_deref() {
        None | Some("--json" | "--hold") => json(&report, &mut text),
        Some("--text") => plain(&report, 0, &mut text),
        Some(other) => {
            eprintln!("probe: {other:?}: use --json (the default), --text or --hold (JSON, then wait)");
            std::process::exit(2);
        }
    }
    // Whoever asked may have read enough.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    if mode.as_deref() == Some("--hold") {
        // Until whoever started us closes our standard input: they want to see us from outside, too.
        let _end_of_input = std::io::stdin().read(&mut [0; 1]);
    }
}

fn report() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).map(str::trim);
    let text = |name: &str| field(name).map_or(Value::Null, |value| Value::Text(value.to_owned()));
    let number = |name: &str| field(name).and_then(|value| value.parse().ok()).map_or(Value::Null, Value::Number);
    let numbers = |name: &str| {
        let list = field(name).unwrap_or_default().split_whitespace();
        Value::List(list.filter_map(|value| value.parse().ok()).map(Value::Number).collect())
    };
    object([
        ("pid", Value::Number(std::process::id().into())),
        ("ppid", number("PPid")),
        ("nspid", numbers("NSpid")),
        ("uids", numbers("Uid")),
        ("gids", numbers("Gid")),
        ("groups", numbers("Groups")),
        ("namespaces", namespaces()),
        ("uid_map", id_map("/proc/self/uid_map")),
        ("gid_map", id_map("/proc/self/gid_map")),
        ("hostname", line("/proc/sys/kernel/hostname")),
        ("domainname", line("/proc/sys/kernel/domainname")),
        ("cwd", std::env::current_dir().map_or(Value::Null, |path| Value::Text(path.display().to_string()))),
        ("root", link("/proc/self/root")),
        ("umask", text("Umask")),
        (
            "capabilities",
            object([
                ("inheritable", text("CapInh")),
                ("permitted", text("CapPrm")),
                ("effective", text("CapEff")),
                ("bounding", text("CapBnd")),
                ("ambient", text("CapAmb")),
            ]),
        ),
        ("no_new_privs", number("NoNewPrivs")),
        ("seccomp", number("Seccomp")),
        ("seccomp_filters", number("Seccomp_filters")),
        ("cgroup", lines("/proc/self/cgroup")),
        ("limits", limits()),
        ("oom_score_adj", line("/proc/self/oom_score_adj")),
        ("signals", object([("blocked", text("SigBlk")), ("ignored", field("SigIgn").map_or(Value::Null, ignored))])),
        ("descriptors", descriptors()),
        ("links", links()),
        ("mounts", mounts()),
        ("processes", processes()),
        ("environment", environment()),
    ])
}

/// The mask of ignored signals without SIGPIPE: Rust's own runtime has ignored that before we look.
fn ignored(mask: &str) -> Value {
    const SIGPIPE: u64 = 1 << 12;
    u64::from_str_radix(mask, 16).map_or(Value::Null, |bits| Value::Text(format!("{:016x}", bits & !SIGPIPE)))
}

/// Each namespace's kind and inode number.
fn namespaces() -> Value {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/ns").into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        let inode = target.split_once('[').and_then(|(_, rest)| rest.trim_end_matches(']').parse().ok());
        found.insert(entry.file_name().display().to_string(), inode.map_or(Value::Null, Value::Number));
    }
    Value::Object(found.into_iter().collect())
}

/// Lines `inside outside count`.
fn id_map(path: &str) -> Value {
    let text = fs::read_to_string(path).unwrap_or_default();
    let range = |line: &str| {
        let numbers: Vec<i64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let at = |index: usize| numbers.get(index).copied().map_or(Value::Null, Value::Number);
        object([("inside", at(0)), ("outside", at(1)), ("count", at(2))])
    };
    Value::List(text.lines().map(range).collect())
}

/// Soft and hard limit by name; `unlimited` is text.
fn limits() -> Value {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    // The name has spaces in it and ends at column 26.
    let limit = |line: &str| {
        let (name, rest) = line.split_at_checked(26)?;
        let mut values = rest.split_whitespace();
        let mut next = || match values.next() {
            Some(value) => value.parse().map_or_else(|_| Value::Text(value.to_owned()), Value::Number),
            None => Value::Null,
        };
        Some((name.trim().to_owned(), object([("soft", next()), ("hard", next())])))
    };
    Value::Object(text.lines().skip(1).filter_map(limit).collect())
}

/// Open descriptors and what they lead to. The one that lists them is not told.
fn descriptors() -> Value {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.display().to_string();
        // The directory that is being read is itself open.
        if target.starts_with("/proc/") && target.ends_with("/fd") {
            continue;
        }
        if let Ok(number) = entry.file_name().display().to_string().parse::<u32>() {
            found.insert(number, Value::Text(target));
        }
    }
    Value::Object(found.into_iter().map(|(number, target)| (number.to_string(), target)).collect())
}

/// Network interfaces, in the kernel's order.
fn links() -> Value {
    let text = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    Value::List(names.map(Value::Text).collect())
}

/// The mount table, one object a mount.
fn mounts() -> Value {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        let (mount, source): (Vec<&str>, Vec<&str>) = (mount.split(' ').collect(), source.split(' ').collect());
        let at = |fields: &[&str], index: usize| {
            fields.get(index).map_or(Value::Null, |field| Value::Text((*field).to_owned()))
        };
        Some(object([
            ("root", at(&mount, 3)),
            ("target", at(&mount, 4)),
            ("options", at(&mount, 5)),
            ("propagation", Value::Text(mount.get(6..).unwrap_or_default().join(" "))),
            ("type", at(&source, 0)),
            ("source", at(&source, 1)),
            ("super_options", at(&source, 2)),
        ]))
    };
    Value::List(text.lines().filter_map(mount).collect())
}

/// The pids that `/proc` shows.
fn processes() -> Value {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i64> = entries.filter_map(|entry| entry.file_name().display().to_string().parse().ok()).collect();
    pids.sort_unstable();
    Value::List(pids.into_iter().map(Value::Number).collect())
}

fn environment() -> Value {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    Value::Object(std::env::vars_os().map(|(name, value)| (text(name), Value::Text(text(value)))).collect())
}

fn line(path: &str) -> Value {
    fs::read_to_string(path).map_or(Value::Null, |text| Value::Text(text.trim_end().to_owned()))
}

fn lines(path: &str) -> Value {
    let text = fs::read_to_string(path).unwrap_or_default();
    Value::List(text.lines().map(|line| Value::Text(line.to_owned())).collect())
}

fn link(path: &str) -> Value {
    fs::read_link(path).map_or(Value::Null, |target| Value::Text(target.display().to_string()))
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn json(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Text(text) => quoted(text, out),
        Value::List(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                json(value, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                quoted(name, out);
                out.push(':');
                json(value, out);
            }
            out.push('}');
        }
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => {
                // Writing into a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The report as an indented list.
fn plain(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("?\n"),
        Value::Number(number) => out.push_str(&format!("{number}\n")),
        Value::Text(text) => out.push_str(&format!("{}\n", text.escape_debug())),
        Value::List(values) if values.iter().all(|value| matches!(value, Value::Number(_))) => {
            let numbers: Vec<String> = values
                .iter()
                .filter_map(|value| if let Value::Number(number) = value { Some(number.to_string()) } else { None })
                .collect();
            out.push_str(&format!("{}\n", numbers.join(" ")));
        }
        Value::List(values) => {
            out.push('\n');
            for value in values {
                out.push_str(&"  ".repeat(depth));
                match value {
                    Value::Object(fields) => out.push_str(&format!("{}\n", on_one_line(fields))),
                    other => plain(other, depth + 1, out),
                }
            }
        }
        Value::Object(fields) => {
            out.push_str(if depth == 0 { "" } else { "\n" });
            let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default().clamp(16, 24);
            for (name, value) in fields {
                out.push_str(&format!("{}{name:<width$} ", "  ".repeat(depth)));
                match value {
                    // Two limits, or one range of ids: they belong together.
                    Value::Object(inner) if depth > 0 => out.push_str(&format!("{}\n", on_one_line(inner))),
                    Value::Text(mask) if depth > 0 && CAPABILITY_SETS.contains(&name.as_str()) => {
                        out.push_str(&format!("{mask} {}\n", capabilities(mask)));
                    }
                    value => plain(value, depth + 1, out),
                }
            }
        }
    }
}

const CAPABILITY_SETS: [&str; 5] = ["inheritable", "permitted", "effective", "bounding", "ambient"];

/// The capabilities by number, without the prefix. capabilities(7)
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// A mask in words: all, none, or names.
fn capabilities(mask: &str) -> String {
    let bits = u64::from_str_radix(mask, 16).unwrap_or_default();
    let has = |number: &usize| bits & (1 << number) != 0;
    match (0..CAPABILITIES.len()).filter(has).count() {
        0 => "none".to_owned(),
        count if count == CAPABILITIES.len() => "all".to_owned(),
        // Fewer are missing than there: that is how somebody took a few from everybody.
        count if count > CAPABILITIES.len() / 2 => {
            let missing = (0..CAPABILITIES.len()).filter(|number| !has(number)).map(|number| CAPABILITIES[number]);
            format!("all but {}", missing.collect::<Vec<_>>().join(" "))
        }
        _ => (0..CAPABILITIES.len()).filter(has).map(|number| CAPABILITIES[number]).collect::<Vec<_>>().join(" "),
    }
}

fn on_one_line(fields: &[(String, Value)]) -> String {
    let field = |(_, value): &(String, Value)| match value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    fields.iter().filter_map(field).collect::<Vec<_>>().join(" ")
}
