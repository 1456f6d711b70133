//! What chapter 8's exercises call: names and platforms.

use anyhow::{anyhow, bail};
use images::{Platform, Reference};

/// `name TEXT` writes a name out in full; `platform TEXT` reads a platform; `fits IMAGE MACHINE`, each of two or three words
/// with slashes, says how well an image runs on a machine.
fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["name", text] => match text.parse::<Reference>() {
            Ok(reference) => println!("{reference}"),
            Err(error) => println!("refused: {error}"),
        },
        ["platform", text] => match text.parse::<Platform>() {
            Ok(platform) => println!("{platform}"),
            Err(error) => println!("refused: {error}"),
        },
        ["fits", image, machine] => {
            let platform = |text: &str| text.parse::<Platform>().map_err(|error| anyhow!(error));
            println!("{:?}", platform(image)?.fits(&platform(machine)?));
        }
        _ => bail!("name, platform or fits"),
    }
    Ok(())
}
