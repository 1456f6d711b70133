//! What chapter 9's exercises call: what a registry says, and where it may lead.

use anyhow::{Context as _, bail};
use distribution::address::{Origin, resolve_location};
use distribution::challenge::Challenge;
use ureq::http::Uri;

/// `challenge HEADER` reads a challenge; `leads FROM TO` says whether a request may go on there; `location ASKED LOCATION`
/// resolves an answer's `Location`.
fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["challenge", header] => println!("{:?}", Challenge::choose([header].into_iter())),
        ["leads", from, to] => {
            let origin = |text: &str| Origin::of(&text.parse::<Uri>()?).context("no server");
            println!("{}", origin(from)?.may_lead_to(&origin(to)?));
        }
        ["location", asked, location] => match resolve_location(&asked.parse::<Uri>()?, location) {
            Some(uri) => println!("{uri}"),
            None => println!("refused"),
        },
        _ => bail!("challenge, leads or location"),
    }
    Ok(())
}
