//! The same probe as a program of this workspace: `cargo run -p probe -- --text`.

mod program;

fn main() {
    program::main();
}
