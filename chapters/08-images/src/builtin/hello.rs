//! `hello`: the smallest image that says something. Its program is assembled here, byte by byte.
//!
//! ```text
//! offset  bytes
//!      0     64  ELF header: "an executable for x86-64; begin at 0x400078"
//!     64     56  program header: "map the whole file at 0x400000, to read and execute"
//!    120     33  the program
//!    153    ...  the message
//! ```
//!
//! No section, no symbol, no library: this is all that the kernel reads before it starts a process.
//!
//! # References
//! elf(5); System V ABI, AMD64 supplement, appendix A (how a system call takes its arguments)

use std::collections::BTreeMap;

use crate::builtin::layer::Entry;
use crate::builtin::{Recipe, run};
use crate::descriptor::Platform;

/// Where the file is mapped: what linkers have always used for programs at a fixed address.
const BASE: u64 = 0x40_0000;
const HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;
const CODE: u64 = HEADER as u64 + PROGRAM_HEADER as u64;

const MESSAGE: &str = "\
Hello from a container made by Cooper!

What just happened:
 1. Cooper found no image called \"hello\", so it made one on the spot: one layer with
    one program of SIZE bytes, which chapter 8 assembles byte by byte.
 2. It unpacked the layer, and stacked a fresh directory on it with overlayfs, to
    take the changes of this one container (chapter 4).
 3. It made a process with namespaces of its own, a root of its own, limits, and
    few privileges (chapters 1 to 7), and started the program in it as process 1.
 4. The program wrote this text, and ended. Its container ends with it.

Something bigger, made of this machine's own tools:
    cooper run -it host
And to see each kernel call that it took:
    cooper --explain run hello
";

pub(super) fn recipe() -> Recipe {
    let program = Entry::File { bytes: hello_program(), mode: 0o755 };
    Recipe {
        files: BTreeMap::from([("hello".to_owned(), program)]),
        // The program decides, not the machine that makes the image: so its digest is the same everywhere.
        platform: Platform { architecture: "amd64".into(), variant: None, ..Platform::host() },
        run: run(&["/hello"]),
        remark: "cooper: assembled by chapter 8".into(),
    }
}

/// What the program prints.
pub fn message() -> String {
    let others = CODE as usize + code(0).len() + MESSAGE.len() - "SIZE".len();
    // The program's size is part of its text, so its digits count too.
    let size = others + (others + 4).to_string().len();
    MESSAGE.replace("SIZE", &size.to_string())
}

/// The whole program: a static ELF executable for Linux on x86-64.
pub fn hello_program() -> Vec<u8> {
    let message = message();
    let code = code(message.len() as u32);
    let size = CODE + code.len() as u64 + message.len() as u64;
    [elf_header(), program_header(size), code, message.into_bytes()].concat()
}

/// What the file is and where execution begins.
fn elf_header() -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(b"\x7fELF"); // the magic number
    header.extend([2, 1, 1, 0]); // 64 bits, little endian, version 1, System V
    header.extend([0; 8]); // filling
    header.extend(2u16.to_le_bytes()); // an executable at a fixed address
    header.extend(62u16.to_le_bytes()); // x86-64
    header.extend(1u32.to_le_bytes()); // version 1, again
    header.extend((BASE + CODE).to_le_bytes()); // where to begin
    header.extend(u64::from(HEADER).to_le_bytes()); // where the program headers are
    header.extend(0u64.to_le_bytes()); // where the section headers are: there are none
    header.extend(0u32.to_le_bytes()); // flags: none on this processor
    header.extend(HEADER.to_le_bytes()); // the size of this header
    header.extend(PROGRAM_HEADER.to_le_bytes()); // the size of a program header
    header.extend(1u16.to_le_bytes()); // how many there are
    header.extend([0; 6]); // size and number of section headers, and their names: none
    header
}

/// What the kernel maps before it starts the program: the file, all of it, once.
fn program_header(size: u64) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(1u32.to_le_bytes()); // load a piece of the file
    header.extend(5u32.to_le_bytes()); // to be read (4) and executed (1), not written (2)
    header.extend(0u64.to_le_bytes()); // from this offset
    header.extend(BASE.to_le_bytes()); // at this address
    header.extend(BASE.to_le_bytes()); // and this physical one, which Linux ignores
    header.extend(size.to_le_bytes()); // so many bytes of the file
    header.extend(size.to_le_bytes()); // and so many of memory
    header.extend(0x1000u64.to_le_bytes()); // aligned to a page
    header
}

/// `write(1, message, length)`, then `exit(0)`.
fn code(length: u32) -> Vec<u8> {
    const WRITE: u32 = 1;
    const EXIT: u32 = 60;
    const STANDARD_OUTPUT: u32 = 1;
    // The message comes right after the last instruction: 16 bytes after the end of the one that names it.
    const TO_MESSAGE: u32 = 16;
    let mut code = Vec::new();
    code.push(0xb8); // mov eax, WRITE           the number of the system call
    code.extend(WRITE.to_le_bytes());
    code.push(0xbf); // mov edi, 1               first argument: the descriptor
    code.extend(STANDARD_OUTPUT.to_le_bytes());
    code.extend([0x48, 0x8d, 0x35]); // lea rsi, [rip + n]       second: the message's address
    code.extend(TO_MESSAGE.to_le_bytes());
    code.push(0xba); // mov edx, LENGTH          third: how many bytes
    code.extend(length.to_le_bytes());
    code.extend([0x0f, 0x05]); // syscall
    code.push(0xb8); // mov eax, EXIT
    code.extend(EXIT.to_le_bytes());
    code.extend([0x31, 0xff]); // xor edi, edi             first argument: 0, all is well
    code.extend([0x0f, 0x05]); // syscall
    code
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    use std::process::Command;

    use layers::Digest;

    use super::*;

    #[test]
    fn the_parts_have_the_sizes_that_the_headers_say() {
        assert_eq!(elf_header().len(), usize::from(HEADER));
        assert_eq!(program_header(0).len(), usize::from(PROGRAM_HEADER));
        assert!(message().contains(&format!("one program of {} bytes", hello_program().len())));
    }

    #[test]
    fn the_program_is_the_same_on_every_machine() {
        insta::assert_snapshot!(Digest::of(&hello_program()));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_program_runs_and_says_its_message() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello");
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o755).open(&path).unwrap();
        file.write_all(&hello_program()).unwrap();
        drop(file);
        // Another test may be forking right now and hold the file open for a moment: ETXTBSY.
        let output = (0..50)
            .find_map(|_| {
                Command::new(&path).output().map_err(|_| std::thread::sleep(std::time::Duration::from_millis(20))).ok()
            })
            .unwrap();
        assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(0), message()));
    }
}
