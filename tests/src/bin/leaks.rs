//! What did that command leave in the kernel? Take a picture, run it, compare.
//!
//! ```text
//! cargo run -p tests --bin leaks -- snapshot > before
//! ...
//! cargo run -p tests --bin leaks -- compare before
//! ```

use std::process::ExitCode;

use anyhow::{Context, Result};
use tests::leaks::Snapshot;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["snapshot"] => print!("{}", Snapshot::take().to_lines()),
        ["compare", file] => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
            let before = Snapshot::from_lines(&text).with_context(|| format!("{file} is no snapshot"))?;
            if let Err(leaked) = before.unchanged() {
                leaked.iter().for_each(|line| println!("{line}"));
                return Ok(ExitCode::FAILURE);
            }
            println!("nothing is left");
        }
        _ => {
            eprintln!("usage: leaks snapshot > FILE\n       leaks compare FILE");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
