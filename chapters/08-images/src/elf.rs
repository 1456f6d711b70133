//! Reading just enough of an ELF file to know what it needs: a loader, and libraries by name.

use std::fs;
use std::path::{Path, PathBuf};

/// What a program or library needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// The processor, as the ELF header numbers it.
    pub machine: u16,
    /// The program that loads it; `None` for libraries and static programs.
    pub interpreter: Option<String>,
    /// Names of the libraries that it needs, such as `libc.so.6`.
    pub needed: Vec<String>,
    /// Directories where it wants them looked for first.
    pub run_path: Vec<String>,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// One program header.
#[derive(Clone, Copy)]
struct Segment {
    kind: u32,
    offset: usize,
    address: u64,
    size: usize,
}

impl Elf {
    /// Reads a 64-bit little-endian ELF file.
    ///
    /// # Errors
    /// A file that cannot be read, or is something else.
    ///
    /// # References
    /// elf(5)
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let no_elf = || std::io::Error::new(std::io::ErrorKind::InvalidData, "no 64-bit little-endian ELF file");
        Self::parse(&fs::read(path)?).ok_or_else(no_elf)
    }

    /// Every offset comes from the file, so every access is one that may fail.
    fn parse(file: &[u8]) -> Option<Self> {
        if file.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let start = usize::try_from(u64_at(file, 32)?).ok()?;
        let (each, count) = (usize::from(u16_at(file, 54)?), usize::from(u16_at(file, 56)?));
        let segments: Vec<Segment> =
            (0..count).map(|n| segment(file, start.checked_add(n * each)?)).collect::<Option<_>>()?;
        let body = |kind| {
            let segment = segments.iter().find(|segment| segment.kind == kind)?;
            file.get(segment.offset..segment.offset.checked_add(segment.size)?)
        };
        let mut elf = Self {
            machine: u16_at(file, 18)?,
            interpreter: body(PT_INTERP).and_then(|bytes| text_at(bytes, 0)),
            needed: Vec::new(),
            run_path: Vec::new(),
        };
        let entries: Vec<(u64, u64)> = body(PT_DYNAMIC)
            .unwrap_or_default()
            .chunks_exact(16)
            .filter_map(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?)))
            .collect();
        // Names are offsets into a table whose address is itself one of the entries.
        let table = entries.iter().find(|(tag, _)| *tag == DT_STRTAB).and_then(|(_, address)| {
            let home = segments
                .iter()
                .find(|s| s.kind == PT_LOAD && (s.address..s.address + s.size as u64).contains(address))?;
            file.get(home.offset + usize::try_from(address - home.address).ok()?..)
        });
        for (tag, value) in entries {
            let name = || text_at(table?, usize::try_from(value).ok()?);
            match tag {
                DT_NEEDED => elf.needed.extend(name()),
                DT_RPATH | DT_RUNPATH => {
                    elf.run_path.extend(
                        name().iter().flat_map(|paths| paths.split(':').map(str::to_owned).collect::<Vec<_>>()),
                    );
                }
                _ => {}
            }
        }
        Some(elf)
    }
}

/// The directories where this machine's loader looks.
#[derive(Debug, Clone)]
pub struct LibraryPath(Vec<PathBuf>);

impl LibraryPath {
    /// The usual directories of this processor, then those that `/etc/ld.so.conf` names.
    pub fn of_this_machine() -> Self {
        let arch = std::env::consts::ARCH;
        let mut directories: Vec<PathBuf> = Vec::new();
        for base in ["/lib", "/usr/lib"] {
            directories.push(format!("{base}/{arch}-linux-gnu").into());
            directories.push(format!("{base}64").into());
            directories.push(base.into());
        }
        let mut configured: Vec<PathBuf> = fs::read_dir("/etc/ld.so.conf.d")
            .into_iter()
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
            .flat_map(|text| text.lines().filter(|line| line.starts_with('/')).map(PathBuf::from).collect::<Vec<_>>())
            .collect();
        configured.sort();
        directories.extend(configured);
        Self(directories)
    }

    /// The file that the loader would take for the library `name` of `elf`, which lies at `path`.
    ///
    /// # References
    /// ld.so(8)
    pub fn find(&self, name: &str, elf: &Elf, path: &Path) -> Option<PathBuf> {
        let origin = path.parent()?.to_string_lossy();
        let own =
            elf.run_path.iter().map(|dir| PathBuf::from(dir.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)));
        own.chain(self.0.iter().cloned()).map(|directory| directory.join(name)).find(|candidate| {
            // The same name may exist for another processor.
            Elf::read(candidate).is_ok_and(|library| library.machine == elf.machine)
        })
    }
}

fn segment(file: &[u8], at: usize) -> Option<Segment> {
    Some(Segment {
        kind: u32_at(file, at)?,
        offset: usize::try_from(u64_at(file, at + 8)?).ok()?,
        address: u64_at(file, at + 16)?,
        size: usize::try_from(u64_at(file, at + 32)?).ok()?,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Text up to its zero byte.
fn text_at(bytes: &[u8], at: usize) -> Option<String> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|&b| b == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_very_test_needs_a_loader_and_a_c_library() {
        let path = std::env::current_exe().unwrap();
        let elf = Elf::read(&path).unwrap();
        assert!(elf.interpreter.is_some());
        let libc = elf.needed.iter().find(|name| name.starts_with("libc.")).unwrap();
        assert!(LibraryPath::of_this_machine().find(libc, &elf, &path).unwrap().exists());
    }

    #[test]
    fn a_static_program_needs_nothing() {
        let elf = Elf::parse(&crate::builtin::hello_program()).unwrap();
        assert_eq!((elf.machine, elf.interpreter, elf.needed), (62, None, Vec::new()));
    }

    #[test]
    fn whatever_a_damaged_file_says_is_no_panic() {
        let good = fs::read(std::env::current_exe().unwrap()).unwrap();
        let good = &good[..good.len().min(4096)];
        for at in 0..good.len().min(1024) {
            for value in [0, 0x7f, 0xff] {
                let mut bad = good.to_vec();
                bad[at] = value;
                let _ = Elf::parse(&bad);
            }
            let _ = Elf::parse(&good[..at]);
        }
    }
}
