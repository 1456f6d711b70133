#![allow(clippy::unwrap_used)]
use super::*;
use crate::lines;

fn parse(text: &str) -> Result<Instruction, String> {
    let (_, lines) = lines::split(Path::new("Dockerfile"), text).unwrap();
    instruction(&lines[0], '\\')
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

#[test]
fn env_has_an_old_and_a_new_form() {
    assert_eq!(parse("ENV a b c").unwrap(), Instruction::Env(pairs(&[("a", "b c")])));
    assert_eq!(parse("env a=\"b c\" d='e'").unwrap(), Instruction::Env(pairs(&[("a", "\"b c\""), ("d", "'e'")])));
    assert!(parse("ENV a").unwrap_err().contains("two arguments"));
    assert!(parse("ENV a=b c").unwrap_err().contains("can't find ="));
    assert!(parse("ENV =b").unwrap_err().contains("blank"));
}

#[test]
fn a_command_is_exec_only_if_it_is_json() {
    let command = |text: &str| match parse(text).unwrap() {
        Instruction::Cmd(command) => command,
        other => panic!("{other:?}"),
    };
    assert_eq!(command(r#"CMD ["a", "b c"]"#), Command::Exec(vec!["a".to_owned(), "b c".to_owned()]));
    assert_eq!(command("CMD [ -f x ] && y"), Command::Shell("[ -f x ] && y".to_owned()));
    assert_eq!(command("CMD ['a']"), Command::Shell("['a']".to_owned()));
    assert!(parse("CMD [1]").unwrap_err().contains("only string type"));
}

#[test]
fn copy_takes_flags_sources_and_one_destination() {
    let Instruction::Copy(copy) = parse("COPY --chown=1:2 --from=x a 'b c' /d/").unwrap() else { panic!() };
    assert_eq!(copy.from.as_deref(), Some("x"));
    assert_eq!(copy.chown.as_deref(), Some("1:2"));
    assert_eq!(copy.sources, ["a", "'b c'"]);
    assert_eq!(copy.destination, "/d/");
    let Instruction::Copy(copy) = parse(r#"COPY ["a b", "c"]"#).unwrap() else { panic!() };
    assert_eq!((copy.sources, copy.destination), (vec!["a b".to_owned()], "c".to_owned()));
}

#[test]
fn a_heredoc_is_a_script_or_a_file() {
    let Instruction::Run { command, .. } = parse("RUN <<EOF\na\nb\nEOF\n").unwrap() else { panic!() };
    assert_eq!(command, Command::Shell("a\nb\n".to_owned()));
    let Instruction::Run { command, .. } = parse("RUN cat <<EOF > x\na\nEOF\n").unwrap() else { panic!() };
    assert_eq!(command, Command::Shell("cat <<EOF > x\na\nEOF".to_owned()));
    let Instruction::Copy(copy) = parse("COPY <<'EOF' a /x/\n$y\nEOF\n").unwrap() else { panic!() };
    assert_eq!(copy.inline, [("EOF".to_owned(), "$y\n".to_owned(), false)]);
    assert_eq!(copy.sources, ["a"]);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (text, says) in [
        ("RUN --mount=type=cache,target=/x make", "RUN --mount is not supported"),
        ("RUN --fast make", "unknown flag: --fast"),
        ("COPY --link a b", "COPY --link is not supported"),
        ("COPY --from a b", "missing a value on flag: --from"),
        ("COPY --chown=a --chown=b c d", "twice"),
        ("COPY a", "at least two arguments"),
        ("COPY http://x/y /z", "can't be a URL"),
        ("ADD https://x/y /z", "not supported by this engine yet"),
        ("ADD --from=x a b", "unknown flag: --from"),
        ("RUN --network=host x", "not supported"),
        ("RUN", "at least one argument"),
        ("SHELL /bin/sh", "JSON form"),
        ("ONBUILD FROM a", "isn't allowed"),
        ("ONBUILD RUNN a", "unknown instruction"),
        ("HEALTHCHECK --interval=5 CMD x", "no duration"),
        ("HEALTHCHECK nothing", "takes NONE"),
        ("RUN <<EOF\n#!/usr/bin/python3\nEOF", "#!"),
    ] {
        let message = parse(text).unwrap_err();
        assert!(message.contains(says), "{text}: {message}");
    }
}

#[test]
fn healthcheck_durations_are_nanoseconds() {
    let Instruction::Healthcheck(check) = parse("HEALTHCHECK --interval=1m30s --retries=2 CMD curl x").unwrap() else {
        panic!()
    };
    assert_eq!((check.interval, check.retries), (90_000_000_000, 2));
    assert_eq!(check.command, Some(Command::Shell("curl x".to_owned())));
}

#[test]
fn words_that_look_like_flags_behind_other_instructions_are_arguments() {
    assert_eq!(parse("CMD --help").unwrap(), Instruction::Cmd(Command::Shell("--help".to_owned())));
    let Instruction::Run { command, .. } = parse("RUN -- --odd").unwrap() else { panic!() };
    assert_eq!(command, Command::Shell("--odd".to_owned()));
}
