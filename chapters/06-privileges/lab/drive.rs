//! What chapter 6's exercises call: who a user is, and what a filter answers.

use anyhow::{Context as _, bail};
use privileges::CapSet;
use privileges::seccomp::{Call, Profile};

/// `user SPEC PASSWD GROUP` resolves a user against the texts of two files; `answer PROFILE CALL...` compiles a profile and
/// prints its answers to calls of the form `NAME=FIRST-ARGUMENT`.
fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["user", spec, passwd, group] => match privileges::resolve_user(spec, passwd, group) {
            Ok(who) => println!("{} {} {:?}", who.uid, who.gid, who.groups),
            Err(error) => println!("refused: {error}"),
        },
        ["answer", profile, ref calls @ ..] => {
            let profile: Profile = serde_json::from_str(profile)?;
            let program = profile.compile(&CapSet::EMPTY)?;
            for call in calls {
                let (name, argument) = call.split_once('=').context("NAME=ARGUMENT")?;
                let asked = Call::named(name).with_context(|| format!("{name}: no such call here"))?;
                match program.answer(&asked.with(0, argument.parse()?)) {
                    Some(answer) => println!("{call} {answer}"),
                    None => println!("{call} nothing"),
                }
            }
        }
        _ => bail!("user or answer"),
    }
    Ok(())
}
