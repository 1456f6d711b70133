//! Compiles the tiny init: std alone, static, so that it runs in any root file system.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/init");
    println!("cargo::rerun-if-changed=src/passed_on.rs");
    let variable = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let output = PathBuf::from(variable("OUT_DIR")).join("init");
    let compile = |arguments: &[&str]| {
        Command::new(variable("RUSTC"))
            .args(["--edition=2024", "--crate-name=init", "--crate-type=bin", "-Copt-level=s", "-Cpanic=abort"])
            .args(["-Cstrip=symbols", "-Clto=fat", "--target"])
            .arg(variable("TARGET"))
            .args(arguments)
            .arg("-o")
            .arg(&output)
            .arg("src/init/src/main.rs")
            .status()
            .is_ok_and(|status| status.success())
    };
    let is_static = compile(&["-Ctarget-feature=+crt-static"]);
    if !is_static {
        println!(
            "cargo::warning=no static libc here: the engine's init runs only in roots that have this machine's libc"
        );
        assert!(compile(&[]), "the init does not compile");
    }
    println!("cargo::rustc-env=INIT_IS_STATIC={is_static}");
}
