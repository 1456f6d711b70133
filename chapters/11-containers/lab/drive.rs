//! What chapter 11's exercises call: what travels between a container and whoever is attached to it.

use std::io::Read as _;

use anyhow::bail;
use containers::{DetachKeys, Stream, Unframer};

/// `frames SIZE` reads a framed stream from standard input in pieces of SIZE bytes and prints what each output said; `keys
/// SEQUENCE SIZE` reads typed keys in such pieces and prints what reaches the program.
fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["frames", size] => {
            let (mut unframer, mut outputs) = (Unframer::default(), [Vec::new(), Vec::new()]);
            for piece in input.chunks(size.parse()?) {
                let fed = unframer.feed(piece, |stream, bytes| {
                    outputs[usize::from(stream == Stream::Stderr)].extend_from_slice(bytes);
                    Ok::<(), String>(())
                });
                if let Err(error) = fed {
                    println!("refused: {error}");
                    return Ok(());
                }
            }
            let [out, err] = outputs.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            println!("{out}|{err}");
        }
        ["keys", sequence, size] => {
            let mut keys: DetachKeys = match sequence {
                "" => DetachKeys::default(),
                text => match text.parse() {
                    Ok(keys) => keys,
                    Err(error) => {
                        println!("refused: {error}");
                        return Ok(());
                    }
                },
            };
            let mut typed = Vec::new();
            let left = input.chunks(size.parse()?).any(|piece| keys.filter(piece, &mut typed));
            println!("{} {left}", typed.escape_ascii());
        }
        _ => bail!("frames or keys"),
    }
    Ok(())
}
