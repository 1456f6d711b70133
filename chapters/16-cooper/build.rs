//! Links `cooper` at a fixed address.
//!
//! A program that may lie anywhere has its tables of pointers filled in when it starts, page by page, and each page is then its own:
//! 700 KiB for every command, every monitor, and copied again at each fork. Stack, heap and libraries lie at random addresses as before.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-no-pie");
}
