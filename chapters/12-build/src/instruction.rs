//! The instructions: one type that says what a line of a Dockerfile asks for.
//!
//! A [`Line`](crate::lines::Line) becomes a [`Statement`]: its place and its [`Instruction`]. Nothing is expanded here:
//! the variables that a line may use are known only when the build reaches it, so the strings
//! in an instruction are still as written, quotes and all, and the stage that executes it
//! expands the ones that its kind lets expand.
//!
//! What this engine cannot do is refused here, by name, at its line. It is never skipped: an
//! image in which a flag was quietly ignored is a wrong image.
//!
//! # References
//! <https://docs.docker.com/reference/dockerfile/>

use crate::error::Place;

/// A command, in one of the two forms that RUN, CMD, ENTRYPOINT and HEALTHCHECK take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `RUN make && make install`: handed to the shell as one argument.
    Shell(String),
    /// `RUN ["make", "install"]`: run as it is, no shell anywhere.
    Exec(Vec<String>),
}

impl Command {
    /// The argument vector: the shell's words before a shell command, nothing before the other.
    pub fn arguments(&self, shell: &[String]) -> Vec<String> {
        match self {
            Command::Shell(text) => shell.iter().cloned().chain([text.clone()]).collect(),
            Command::Exec(words) => words.clone(),
        }
    }
}

/// What a RUN step may reach over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// What the whole build was given.
    Default,
    /// Nothing but its own loopback.
    None,
}

/// `COPY` and `ADD`: files into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Whether local archives are unpacked, which is `ADD`'s privilege.
    pub unpack: Unpack,
    /// `--from`: a stage's name or number, or an image; none for the build context.
    pub from: Option<String>,
    /// `--chown`, as written.
    pub chown: Option<String>,
    /// `--chmod`, octal, as written.
    pub chmod: Option<String>,
    /// What to copy; patterns.
    pub sources: Vec<String>,
    /// Files whose content stands in the Dockerfile itself (`COPY <<EOF /x`): (name, content, expand).
    pub inline: Vec<(String, String, bool)>,
    /// Where to; ends in a slash if it names a directory.
    pub destination: String,
}

/// Whether a copied archive is unpacked or kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpack {
    /// `ADD`: a local tar archive is unpacked at the destination.
    Archives,
    /// `COPY`: every file stays what it is.
    Nothing,
}

/// What a line asks for. Strings are as written: not expanded, quotes kept where words are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `FROM base AS name`.
    From {
        /// The base: a stage, an image or `scratch`.
        base: String,
        /// The stage's name, in lower case.
        name: Option<String>,
        /// `--platform`.
        platform: Option<String>,
    },
    /// `ARG name=default`, one pair a name.
    Arg(Vec<(String, Option<String>)>),
    /// `ENV`, both forms.
    Env(Vec<(String, String)>),
    /// `LABEL`, both forms.
    Label(Vec<(String, String)>),
    /// `RUN`.
    Run {
        /// What to run.
        command: Command,
        /// `--network`.
        network: RunNetwork,
    },
    /// `COPY` or `ADD`.
    Copy(Copy),
    /// `WORKDIR`.
    Workdir(String),
    /// `USER`.
    User(String),
    /// `EXPOSE`, one string a port.
    Expose(Vec<String>),
    /// `VOLUME`, one string a path.
    Volume(Vec<String>),
    /// `CMD`.
    Cmd(Command),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `ONBUILD`: a line to be executed by the build that starts from this image.
    OnBuild(String),
    /// `MAINTAINER`, which a `LABEL` replaced long ago.
    Maintainer(String),
}

/// `HEALTHCHECK`: how to ask a container whether it is well. Durations are in nanoseconds,
/// which is what Docker's image configuration holds; 0 stands for the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// The command; none for `HEALTHCHECK NONE`, which switches an inherited check off.
    pub command: Option<Command>,
    /// `--interval`: from one check to the next.
    pub interval: i64,
    /// `--timeout`: how long one check may take.
    pub timeout: i64,
    /// `--start-period`: how long failures do not count after the start.
    pub start_period: i64,
    /// `--start-interval`: from one check to the next during the start period.
    pub start_interval: i64,
    /// `--retries`: how many failures in a row make a container unhealthy.
    pub retries: i64,
}

/// A line of a Dockerfile, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Where it stands, and its text.
    pub place: Place,
    /// What it asks for.
    pub instruction: Instruction,
}

/// The instructions' names, for the suggestion that a misspelt one gets.
pub const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The instruction whose name is nearest to `word`, if it is near at all.
pub fn nearest(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_uppercase();
    let (distance, name) = NAMES.iter().map(|name| (distance(&word, name), *name)).min()?;
    (distance <= 1 + name.len() / 3).then_some(name)
}

/// How many letters to insert, delete, replace or swap to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() > 32 {
        return usize::MAX;
    }
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let swapped = if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        table[i - 2][j - 2] + 1
                    } else {
                        usize::MAX
                    };
                    replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1).min(swapped)
                }
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour_and_a_strange_one_none() {
        assert_eq!(nearest("RUNN"), Some("RUN"));
        assert_eq!(nearest("copz"), Some("COPY"));
        assert_eq!(nearest("FORM"), Some("FROM"));
        assert_eq!(nearest("ENTRYPIONT"), Some("ENTRYPOINT"));
        assert_eq!(nearest("INCLUDE"), None);
        assert_eq!(nearest(&"x".repeat(1000)), None);
    }

    #[test]
    fn only_a_shell_command_gets_the_shell() {
        let shell = ["/bin/sh".to_owned(), "-c".to_owned()];
        assert_eq!(Command::Shell("a b".to_owned()).arguments(&shell), ["/bin/sh", "-c", "a b"]);
        assert_eq!(Command::Exec(vec!["a".to_owned()]).arguments(&shell), ["a"]);
    }
}
