//! Links `cooper-runtime` at a fixed address, as `cooper` is: it is started for every container and every `exec`, and needs a third fewer pages so.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bin=cooper-runtime=-no-pie");
}
