//! What chapter 4's exercises call that its program cannot show alone: names made of content, and names that mean "gone".

use std::path::Path;

use anyhow::bail;
use layers::Digest;
use layers::whiteout::Mark;

/// `digest TEXT` reads a digest; `mark PATH` says what a member's path means to the layers below.
fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["digest", text] => match text.parse::<Digest>() {
            Ok(digest) => println!("{digest}"),
            Err(error) => println!("refused: {error}"),
        },
        ["mark", path] => match Mark::of(Path::new(path)) {
            Ok(mark) => println!("{mark:?}"),
            Err(error) => println!("refused: {error}"),
        },
        _ => bail!("digest or mark"),
    }
    Ok(())
}
