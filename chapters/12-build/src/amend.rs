//! `--change`: a line of a Dockerfile for an image that is made without one, by `commit` or `import`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use images::ImageConfig;

use crate::error::Error;
use crate::instruction::Instruction;
use crate::scope::Scope;
use crate::stage::Stage;
use crate::{lines, parser};

/// What an error names in place of a Dockerfile.
const FILE: &str = "--change";

/// Carries out lines of a Dockerfile on a configuration: those that change no file. Nothing is changed if one is wrong.
///
/// # Errors
/// [`Error::Dockerfile`] for a line that is none, or that needs more than a configuration: FROM, RUN, COPY and their kin.
pub fn amend(config: &mut ImageConfig, changes: &[String]) -> Result<(), Error> {
    let mut stage = Stage::scratch(Scope::new(&[], &BTreeMap::new()), String::new());
    stage.scope.inherit(&config.config.env);
    stage.config = config.clone();
    let file = Path::new(FILE);
    for change in changes.iter().filter(|change| !change.trim().is_empty()) {
        let (directives, lines) = lines::split(file, change)?;
        for line in &lines {
            let statement = parser::statement(file, line, directives.escape)?;
            let wrong = |message: String| Error::dockerfile(&statement.place, message);
            match &statement.instruction {
                Instruction::Workdir(path) => {
                    let path = stage.expand(path, directives.escape).map_err(wrong)?;
                    stage.config.config.working_dir = absolute(stage.workdir(), &path);
                }
                Instruction::From { .. }
                | Instruction::Run { .. }
                | Instruction::Copy(_)
                | Instruction::Arg(_)
                | Instruction::Shell(_)
                | Instruction::Maintainer(_) => {
                    let keyword = line.text.split_whitespace().next().unwrap_or_default();
                    return Err(wrong(format!("{} is not a valid change command", keyword.to_uppercase())));
                }
                _ => stage.configure(&statement, directives.escape).map_err(wrong)?,
            }
        }
    }
    *config = stage.config;
    Ok(())
}

/// A working directory as the instructions before it make it: absolute, without dots.
fn absolute(workdir: &str, path: &str) -> String {
    let mut clean = PathBuf::from("/");
    for part in Path::new(workdir).join(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            // Above the root is the root.
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn amended(changes: &[&str]) -> Result<ImageConfig, String> {
        let mut config = ImageConfig::default();
        config.config.env = vec!["PATH=/bin".into()];
        config.config.cmd = Some(vec!["sh".into()]);
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        amend(&mut config, &changes).map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn lines_of_a_dockerfile_change_the_configuration() {
        let config = amended(&[
            "ENV PATH=$PATH:/opt/bin A=\"b c\"",
            "LABEL tier=web",
            "expose 80 53/udp",
            "WORKDIR /srv",
            "WORKDIR app/../data",
            "USER 1000:1000",
            "VOLUME [\"/data\"]",
            "CMD [\"serve\", \"--now\"]",
        ]);
        let config = config.unwrap().config;
        assert_eq!(config.env, ["PATH=/bin:/opt/bin", "A=b c"]);
        assert_eq!(config.labels["tier"], "web");
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["80/tcp", "53/udp"]);
        assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/srv/data", "1000:1000"));
        assert!(config.volumes.contains_key("/data"));
        assert_eq!(config.cmd.unwrap(), ["serve", "--now"]);
    }

    #[test]
    fn a_shell_form_gets_a_shell_and_an_entrypoint_drops_the_command_that_was() {
        assert_eq!(amended(&["CMD echo $HOME"]).unwrap().config.cmd.unwrap(), ["/bin/sh", "-c", "echo $HOME"]);
        assert_eq!(amended(&["ENTRYPOINT [\"a\"]"]).unwrap().config.cmd, None);
        assert!(amended(&["CMD b", "ENTRYPOINT [\"a\"]"]).unwrap().config.cmd.is_some());
    }

    #[test]
    fn what_needs_more_than_a_configuration_is_refused() {
        for line in ["RUN true", "FROM scratch", "COPY a b", "ARG x", "MAINTAINER me"] {
            let keyword = line.split(' ').next().unwrap();
            assert!(amended(&[line]).unwrap_err().contains(&format!("{keyword} is not a valid change command")));
        }
        assert!(amended(&["ENVV a=b"]).unwrap_err().contains("did you mean ENV"));
        assert!(amended(&["ENV ok=1", "EXPOSE none"]).unwrap_err().starts_with("--change:1"));
    }
}
