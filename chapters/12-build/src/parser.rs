//! From an instruction's text to the instruction.
//!
//! Each instruction has its own small grammar, and most of them are one of four: words
//! (`EXPOSE 80 443`), pairs (`ENV a=b`), the rest of the line (`WORKDIR /a b`), or a command
//! (`CMD [...]` or `CMD ...`). Flags (`--name=value`) stand before all of them.

use std::path::Path;

use crate::error::{Error, Place};
use crate::instruction::{Command, Copy, Healthcheck, Instruction, RunNetwork, Statement, Unpack, nearest};
use crate::lines::Line;
use crate::words;

/// Understands one line.
///
/// # Errors
/// [`Error::Dockerfile`] for an unknown instruction (with the nearest known one), an unknown or
/// unsupported flag, and arguments that do not fit.
pub fn statement(file: &Path, line: &Line, escape: char) -> Result<Statement, Error> {
    let place = Place::new(file, line.number, &line.text);
    match instruction(line, escape) {
        Ok(instruction) => Ok(Statement { place, instruction }),
        Err(message) => Err(Error::Dockerfile { place, message }),
    }
}

/// The same, with errors that have no place yet.
fn instruction(line: &Line, escape: char) -> Result<Instruction, String> {
    let (keyword, rest) = line.text.split_once(char::is_whitespace).unwrap_or((&line.text, ""));
    let mut arguments = Arguments::new(keyword, rest.trim(), escape);
    let parsed = match arguments.keyword.as_str() {
        "FROM" => from(&mut arguments)?,
        "ARG" => arg(&arguments)?,
        "ENV" => Instruction::Env(arguments.pairs()?),
        "LABEL" => Instruction::Label(arguments.pairs()?),
        "RUN" => run(&mut arguments, line)?,
        "COPY" => copy(&mut arguments, line, Unpack::Nothing)?,
        "ADD" => copy(&mut arguments, line, Unpack::Archives)?,
        "WORKDIR" => Instruction::Workdir(arguments.one()?),
        "USER" => Instruction::User(arguments.one()?),
        "STOPSIGNAL" => Instruction::StopSignal(arguments.one()?),
        "MAINTAINER" => Instruction::Maintainer(arguments.one()?),
        "EXPOSE" => Instruction::Expose(arguments.some_words()?),
        "VOLUME" => Instruction::Volume(arguments.words_or_json()?),
        "CMD" => Instruction::Cmd(arguments.command()?),
        "ENTRYPOINT" => Instruction::Entrypoint(arguments.command()?),
        "SHELL" => match arguments.json()? {
            Some(words) if !words.is_empty() => Instruction::Shell(words),
            _ => return Err("SHELL requires the arguments to be in JSON form".to_owned()),
        },
        "HEALTHCHECK" => healthcheck(&mut arguments)?,
        "ONBUILD" => onbuild(&arguments)?,
        _ => {
            let hint = nearest(keyword).map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
            return Err(format!("unknown instruction: {keyword}{hint}"));
        }
    };
    arguments.no_flags_left()?;
    Ok(parsed)
}

/// What follows an instruction's name: its flags, taken one by one, and the rest.
struct Arguments {
    keyword: String,
    flags: Vec<(String, Option<String>)>,
    rest: String,
    escape: char,
}

impl Arguments {
    /// Cuts the flags off the beginning; a lone `--` ends them.
    fn new(keyword: &str, rest: &str, escape: char) -> Arguments {
        let keyword = keyword.to_ascii_uppercase();
        let mut rest = rest;
        let mut flags = Vec::new();
        // Only these take flags; everywhere else `--x` is an argument like any other.
        while matches!(keyword.as_str(), "FROM" | "RUN" | "COPY" | "ADD" | "HEALTHCHECK") && rest.starts_with("--") {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            rest = behind.trim_start();
            if word == "--" {
                break;
            }
            let word = word.trim_start_matches('-');
            flags.push(match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            });
        }
        Arguments { keyword, flags, rest: rest.to_owned(), escape }
    }

    /// Takes the flag `name`; without a value, or twice, it is an error.
    fn flag(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.flags.iter().position(|(flag, _)| flag == name) else { return Ok(None) };
        let (_, value) = self.flags.remove(at);
        if self.flags.iter().any(|(flag, _)| flag == name) {
            return Err(format!("the flag --{name} is given twice"));
        }
        match value {
            Some(value) if !value.is_empty() => Ok(Some(value)),
            _ => Err(format!("missing a value on flag: --{name}")),
        }
    }

    /// Flags that Docker knows and this engine does not are refused as such, others as unknown.
    fn no_flags_left(&self) -> Result<(), String> {
        let Some((flag, _)) = self.flags.first() else { return Ok(()) };
        let known = match self.keyword.as_str() {
            "RUN" => matches!(flag.as_str(), "mount" | "security"),
            "COPY" => matches!(flag.as_str(), "link" | "parents" | "exclude"),
            "ADD" => matches!(flag.as_str(), "link" | "exclude" | "checksum" | "keep-git-dir" | "unpack"),
            _ => false,
        };
        Err(match known {
            true => format!("{} --{flag} is not supported by this engine yet", self.keyword),
            false => format!("unknown flag: --{flag} for {}", self.keyword),
        })
    }

    fn required(&self) -> Result<&str, String> {
        match self.rest.as_str() {
            "" => Err(format!("{} requires at least one argument", self.keyword)),
            rest => Ok(rest),
        }
    }

    /// The whole rest as one argument: `WORKDIR /a directory with blanks`.
    fn one(&self) -> Result<String, String> {
        self.required().map(str::to_owned)
    }

    fn some_words(&self) -> Result<Vec<String>, String> {
        Ok(self.required()?.split_whitespace().map(str::to_owned).collect())
    }

    /// A JSON array of strings, if that is what the rest is.
    ///
    /// An array of anything else is a mistake; text that is no JSON at all is the other form,
    /// so `CMD [ -f x ] && y` is a shell command.
    fn json(&self) -> Result<Option<Vec<String>>, String> {
        if !self.rest.starts_with('[') {
            return Ok(None);
        }
        match serde_json::from_str::<Vec<serde_json::Value>>(&self.rest) {
            Err(_) => Ok(None),
            Ok(values) => values
                .into_iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .map(Some)
                .ok_or_else(|| "only string type is allowed in JSON format arrays".to_owned()),
        }
    }

    fn words_or_json(&self) -> Result<Vec<String>, String> {
        match self.json()? {
            Some(words) if words.is_empty() => Err(format!("{} requires at least one argument", self.keyword)),
            Some(words) => Ok(words),
            None => self.some_words(),
        }
    }

    fn command(&self) -> Result<Command, String> {
        Ok(match self.json()? {
            Some(words) => Command::Exec(words),
            None => Command::Shell(self.rest.clone()),
        })
    }

    /// `name=value name=value`, or in the old form `name the rest`.
    fn pairs(&self) -> Result<Vec<(String, String)>, String> {
        let all = words::split(self.required()?, self.escape);
        if !all.first().is_some_and(|word| word.contains('=')) {
            let Some((name, value)) = self.rest.split_once(char::is_whitespace) else {
                return Err(format!("{} must have two arguments", self.keyword));
            };
            return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
        }
        all.iter().map(|word| self.pair(word)).collect()
    }

    fn pair(&self, word: &str) -> Result<(String, String), String> {
        match word.split_once('=') {
            None => Err(format!("can't find = in {word:?}: the form is name=value")),
            Some(("", _)) => Err(format!("{} names can not be blank", self.keyword)),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        }
    }
}

fn from(arguments: &mut Arguments) -> Result<Instruction, String> {
    let platform = arguments.flag("platform")?;
    let words = arguments.some_words()?;
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("AS") => (base, Some(stage_name(name)?)),
        _ => return Err("FROM requires either one or three arguments: FROM base [AS name]".to_owned()),
    };
    Ok(Instruction::From { base: base.clone(), name, platform })
}

/// A stage's name: it begins with a letter, so that it can not be mistaken for a number.
fn stage_name(name: &str) -> Result<String, String> {
    let name = name.to_ascii_lowercase();
    let fine = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    match (fine, name.as_str()) {
        (false, _) => Err(format!(
            "invalid name for build stage: {name:?}, a name starts with a letter and has only a-z 0-9 - _ ."
        )),
        (true, "scratch" | "context") => Err(format!("invalid name for build stage: {name:?} is reserved")),
        (true, _) => Ok(name),
    }
}

fn arg(arguments: &Arguments) -> Result<Instruction, String> {
    let pairs = words::split(arguments.required()?, arguments.escape)
        .iter()
        .map(|word| {
            if word.contains('=') {
                return arguments.pair(word).map(|(name, value)| (name, Some(value)));
            }
            Ok((word.clone(), None))
        })
        .collect::<Result<_, String>>()?;
    Ok(Instruction::Arg(pairs))
}

fn run(arguments: &mut Arguments, line: &Line) -> Result<Instruction, String> {
    let network = match arguments.flag("network")?.as_deref() {
        None | Some("default") => RunNetwork::Default,
        Some("none") => RunNetwork::None,
        Some(other) => return Err(format!("RUN --network={other} is not supported: default or none")),
    };
    arguments.required()?;
    let mut command = arguments.command()?;
    if let Command::Shell(text) = &mut command
        && let Some(first) = line.heredocs.first()
    {
        let alone = text.starts_with("<<") && text.split_whitespace().count() == 1;
        if alone && first.content.starts_with("#!") {
            return Err("a here-document with its own #! interpreter is not supported by this engine yet".to_owned());
        }
        if alone {
            // `RUN <<EOF` alone: the document is the script.
            *text = first.content.clone();
        } else {
            // `RUN cat <<EOF`: the shell reads the documents itself.
            for heredoc in &line.heredocs {
                *text = format!("{text}\n{}{}", heredoc.content, heredoc.name);
            }
        }
    }
    Ok(Instruction::Run { command, network })
}

fn copy(arguments: &mut Arguments, line: &Line, unpack: Unpack) -> Result<Instruction, String> {
    let keyword = arguments.keyword.clone();
    let from = if unpack == Unpack::Nothing { arguments.flag("from")? } else { None };
    let (chown, chmod) = (arguments.flag("chown")?, arguments.flag("chmod")?);
    // An unknown flag is the likelier mistake than a missing argument.
    arguments.no_flags_left()?;
    let mut sources = match arguments.json()? {
        Some(words) => words,
        None => words::split(&arguments.rest, arguments.escape),
    };
    let destination = sources.pop().filter(|_| !sources.is_empty()).ok_or_else(|| {
        format!(
            "{keyword} requires at least two arguments, but only {} was provided",
            usize::from(!arguments.rest.is_empty())
        )
    })?;
    let mut inline = Vec::new();
    let mut heredocs = line.heredocs.iter();
    sources.retain(|source| {
        let Some(heredoc) = source.starts_with("<<").then(|| heredocs.next()).flatten() else { return true };
        inline.push((heredoc.name.clone(), heredoc.content.clone(), heredoc.expand));
        false
    });
    if from.is_some() && !inline.is_empty() {
        return Err("a here-document can not come --from another stage".to_owned());
    }
    if let Some(url) = sources.iter().find(|source| is_remote(source)) {
        return Err(match unpack {
            Unpack::Archives => format!(
                "ADD of a URL or repository ({url}) is not supported by this engine yet; RUN with a download tool does it"
            ),
            Unpack::Nothing => format!("source can't be a URL for COPY: {url}"),
        });
    }
    Ok(Instruction::Copy(Copy { unpack, from, chown, chmod, sources, inline, destination }))
}

/// Whether a source lies on another machine.
fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "git@", "ssh://"].iter().any(|scheme| source.starts_with(scheme))
}

fn healthcheck(arguments: &mut Arguments) -> Result<Instruction, String> {
    let mut check = Healthcheck::default();
    for (name, field) in [
        ("interval", &mut check.interval),
        ("timeout", &mut check.timeout),
        ("start-period", &mut check.start_period),
        ("start-interval", &mut check.start_interval),
    ] {
        if let Some(text) = arguments.flag(name)? {
            *field = duration(&text).ok_or_else(|| format!("--{name}={text} is no duration, as 30s or 1m30s are"))?;
        }
    }
    if let Some(text) = arguments.flag("retries")? {
        check.retries =
            text.parse().ok().filter(|n| *n >= 0).ok_or_else(|| format!("--retries={text} is no number"))?;
    }
    let (kind, rest) = arguments.rest.split_once(char::is_whitespace).unwrap_or((&arguments.rest, ""));
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.trim().is_empty() => {}
        "CMD" if !rest.trim().is_empty() => {
            let command = Arguments {
                rest: rest.trim().to_owned(),
                flags: Vec::new(),
                keyword: "CMD".to_owned(),
                escape: arguments.escape,
            };
            check.command = Some(command.command()?);
        }
        _ => return Err("HEALTHCHECK takes NONE, or CMD and a command".to_owned()),
    }
    Ok(Instruction::Healthcheck(check))
}

/// A Go duration (`1h2m3.5s`, `100ms`) in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = behind;
    }
    (!text.is_empty() && total <= i64::MAX as f64).then_some(total as i64)
}

/// The triggered line is parsed now only to refuse nonsense early; it is kept as text.
fn onbuild(arguments: &Arguments) -> Result<Instruction, String> {
    let text = arguments.one()?;
    let keyword = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if matches!(keyword.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
        return Err(format!("{keyword} isn't allowed as an ONBUILD trigger"));
    }
    instruction(&Line { number: 0, text: text.clone(), heredocs: Vec::new() }, arguments.escape)?;
    Ok(Instruction::OnBuild(text))
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
