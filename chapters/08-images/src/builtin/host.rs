//! `host`: a small root file system made of this machine's own shell and tools.
//!
//! A program is more than its file. Its header names a loader, its dynamic section the libraries that the loader
//! must find, and those name more. So the image is a closure: start with the tools, follow every name, and
//! stop when nothing new is needed. This is what "it works on my machine" is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::builtin::layer::Entry;
use crate::builtin::{HOST, Recipe, run};
use crate::descriptor::Platform;
use crate::elf::{Elf, LibraryPath};
use crate::error::{Error, Result};

/// What is worth having in a container to learn in. What a machine lacks is left out, except for a shell.
const TOOLS: &str = "sh bash ls ps id mount umount hostname cat echo sleep stty env grep head tail mkdir rmdir rm cp mv ln \
    touch chmod chown chgrp df du free date uname true false test [ kill top ip ss tput clear printf pwd wc sort uniq \
    tr cut sed awk tee find xargs dd od readlink realpath basename dirname whoami groups nproc seq yes timeout tty stat \
    sync mknod mkfifo expr cmp sha256sum nice nohup pgrep pkill pidof unshare nsenter setpriv lsns findmnt mountpoint \
    getent less";
/// Where tools are looked for. Not `PATH`: the same machine gives the same image to everybody.
const TOOL_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/// What busybox may stand in for, if there is one and the machine has no tool of its own for it.
const APPLETS: &str = "vi wget nc nslookup httpd ping traceroute watch more top ps ip free hostname clear tar gzip";
/// Terminals that people sit at.
const TERMINALS: &str = "ansi dumb linux screen screen-256color tmux tmux-256color vt100 xterm xterm-256color xterm-kitty \
    alacritty rxvt-unicode-256color";
const TERMINFO: [&str; 3] = ["/usr/share/terminfo", "/lib/terminfo", "/etc/terminfo"];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";
const OS_RELEASE: &str =
    "NAME=\"Cooper host image\"\nID=cooper-host\nPRETTY_NAME=\"This machine's tools, in a container\"\n";

pub(super) fn recipe() -> Result<Recipe> {
    let mut root = skeleton();
    let tools = add_tools(&mut root);
    if !tools.contains("sh") {
        return Err(Error::Builtin { name: HOST, reason: "this machine has no /bin/sh that is an ELF program".into() });
    }
    add_busybox(&mut root, &tools);
    add_libraries(&mut root);
    add_terminals(&mut root);
    let shell = if tools.contains("bash") { "/bin/bash" } else { "/bin/sh" };
    Ok(Recipe {
        files: root,
        platform: Platform::host(),
        run: run(&[shell]),
        remark: "cooper: assembled from this machine's own tools".into(),
    })
}

/// The directories and small files that programs expect.
fn skeleton() -> BTreeMap<String, Entry> {
    let mut root = BTreeMap::new();
    for (mode, paths) in [
        (0o755, "dev etc home mnt opt proc run srv sys usr usr/bin usr/lib usr/lib64 usr/local usr/local/bin"),
        (0o755, "usr/sbin usr/share usr/share/terminfo var var/log"),
        (0o700, "root"),
        (0o1777, "tmp var/tmp"),
    ] {
        for path in paths.split_ascii_whitespace() {
            root.insert(path.to_owned(), Entry::Directory { mode });
        }
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        root.insert(name.to_owned(), Entry::Symlink { to: format!("usr/{name}") });
    }
    for (path, text) in
        [("etc/passwd", PASSWD), ("etc/group", GROUP), ("etc/nsswitch.conf", NSSWITCH), ("etc/os-release", OS_RELEASE)]
    {
        root.insert(path.to_owned(), Entry::File { bytes: text.into(), mode: 0o644 });
    }
    root
}

/// Adds the tools that this machine has, and returns their names.
fn add_tools(root: &mut BTreeMap<String, Entry>) -> BTreeSet<&'static str> {
    let mut first_names: BTreeMap<(u64, u64), &str> = BTreeMap::new();
    let mut tools = BTreeSet::new();
    for name in TOOLS.split_ascii_whitespace() {
        let Some(program) = find_program(name) else { continue };
        let Ok(metadata) = fs::metadata(&program) else { continue };
        // Where one program has many names (busybox, uutils), it is stored once.
        let entry = match first_names.get(&(metadata.dev(), metadata.ino())) {
            Some(first) => Entry::Symlink { to: (*first).to_owned() },
            // Never setuid: root of a container needs no such door, and nobody else shall have one.
            None => Entry::Copy { from: program, mode: 0o755 },
        };
        first_names.entry((metadata.dev(), metadata.ino())).or_insert(name);
        root.insert(format!("usr/bin/{name}"), entry);
        tools.insert(name);
    }
    tools
}

fn add_busybox(root: &mut BTreeMap<String, Entry>, tools: &BTreeSet<&str>) {
    let Some(program) = find_program("busybox") else { return };
    root.entry("usr/bin/busybox".to_owned()).or_insert(Entry::Copy { from: program, mode: 0o755 });
    for name in APPLETS.split_ascii_whitespace().filter(|name| !tools.contains(name)) {
        root.insert(format!("usr/bin/{name}"), Entry::Symlink { to: "busybox".into() });
    }
}

/// A tool of this machine: an ELF program, all links followed. A script would need its interpreter, which may
/// need a whole library of its own.
fn find_program(name: &str) -> Option<PathBuf> {
    TOOL_DIRECTORIES.iter().find_map(|directory| {
        let path = fs::canonicalize(Path::new(directory).join(name)).ok()?;
        Elf::read(&path).ok().map(|_| path)
    })
}

/// Adds loaders and libraries until nothing new is needed. What cannot be found is left out: the program that wants
/// it will say so better than we could.
fn add_libraries(root: &mut BTreeMap<String, Entry>) {
    let search = LibraryPath::of_this_machine();
    let mut open: Vec<PathBuf> = root
        .values()
        .filter_map(|entry| match entry {
            Entry::Copy { from, .. } => Some(from.clone()),
            _ => None,
        })
        .collect();
    let mut seen: BTreeSet<PathBuf> = open.iter().cloned().collect();
    while let Some(path) = open.pop() {
        let Ok(elf) = Elf::read(&path) else { continue };
        // Older C libraries load the reader of /etc/passwd only when it is asked for.
        let needed =
            elf.needed.iter().map(String::as_str).chain(elf.interpreter.is_some().then_some("libnss_files.so.2"));
        let libraries: Vec<PathBuf> = needed.filter_map(|name| search.find(name, &elf, &path)).collect();
        for library in libraries.into_iter().chain(elf.interpreter.clone().map(PathBuf::from)) {
            if seen.insert(library.clone()) {
                add_library(root, &library);
                open.push(library);
            }
        }
    }
}

/// Adds a library under the very name by which the loader looks for it.
fn add_library(root: &mut BTreeMap<String, Entry>, library: &Path) {
    let Ok(from) = fs::canonicalize(library) else { return };
    let name = in_image(library);
    for parent in Path::new(&name).ancestors().skip(1) {
        let parent = parent.to_string_lossy().into_owned();
        if !parent.is_empty() {
            root.entry(parent).or_insert(Entry::Directory { mode: 0o755 });
        }
    }
    root.insert(name, Entry::Copy { from, mode: 0o755 });
}

/// A path of this machine as a path in the image, where `/lib` and its like are links into `/usr`.
fn in_image(path: &Path) -> String {
    let path = path.strip_prefix("/").unwrap_or(path);
    let merged = ["bin", "sbin", "lib", "lib64"].iter().any(|name| path.starts_with(name));
    let path = if merged { Path::new("usr").join(path) } else { path.to_owned() };
    path.to_string_lossy().into_owned()
}

fn add_terminals(root: &mut BTreeMap<String, Entry>) {
    for name in TERMINALS.split_ascii_whitespace() {
        let directory = &name[..1];
        let found = TERMINFO.iter().find_map(|base| fs::read(Path::new(base).join(directory).join(name)).ok());
        if let Some(bytes) = found {
            let directory = format!("usr/share/terminfo/{directory}");
            root.insert(format!("{directory}/{name}"), Entry::File { bytes, mode: 0o644 });
            root.insert(directory, Entry::Directory { mode: 0o755 });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_merge_of_usr() {
        assert_eq!(in_image(Path::new("/lib64/ld-linux-x86-64.so.2")), "usr/lib64/ld-linux-x86-64.so.2");
        assert_eq!(in_image(Path::new("/usr/lib/libc.so.6")), "usr/lib/libc.so.6");
        assert_eq!(in_image(Path::new("/library/x")), "library/x");
    }

    #[test]
    fn the_image_has_a_shell_its_loader_and_its_libraries() {
        let root = recipe().unwrap().files;
        for name in ["usr/bin/sh", "usr/bin/ls", "usr/bin/cat", "etc/passwd", "tmp"] {
            assert!(root.contains_key(name), "{name}");
        }
        let shell = Elf::read(&find_program("sh").unwrap()).unwrap();
        for name in shell.interpreter.iter() {
            assert!(root.contains_key(&in_image(Path::new(name))), "{name}");
        }
        for name in &shell.needed {
            assert!(root.keys().any(|path| path.ends_with(name.as_str())), "{name}");
        }
    }
}
