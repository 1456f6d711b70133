//! Compiles the probe itself: one std-only source, static, so that it runs in any root file system.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/program.rs");
    let variable = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let output = PathBuf::from(variable("OUT_DIR")).join("probe");
    let compile = |arguments: &[&str]| {
        Command::new(variable("RUSTC"))
            .args(["--edition=2024", "--crate-name=probe", "--crate-type=bin", "-Copt-level=s", "-Cpanic=abort"])
            .args(["-Cstrip=symbols", "--target"])
            .arg(variable("TARGET"))
            .args(arguments)
            .arg("-o")
            .arg(&output)
            .arg("src/program.rs")
            .status()
            .is_ok_and(|status| status.success())
    };
    let is_static = compile(&["-Ctarget-feature=+crt-static"]);
    if !is_static {
        println!("cargo::warning=no static libc here: the probe will only run in roots that have this machine's libc");
        assert!(compile(&[]), "the probe does not compile");
    }
    println!("cargo::rustc-env=PROBE_IS_STATIC={is_static}");
}
