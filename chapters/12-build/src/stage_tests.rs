#![allow(clippy::unwrap_used)]
use std::path::Path;

use super::*;
use crate::dockerfile::Dockerfile;

/// Carries out the lines of one stage that change no file.
fn configure(stage: &mut Stage, lines: &str) -> Result<(), String> {
    let file = Dockerfile::parse(Path::new("Dockerfile"), &format!("FROM scratch\n{lines}")).unwrap();
    file.stages[0].statements.iter().try_for_each(|statement| stage.configure(statement, '\\'))
}

fn stage() -> Stage {
    let mut stage = Stage::scratch(Scope::new(&[], &Default::default()), String::new());
    stage.config.config.cmd = Some(vec!["base".to_owned()]);
    stage
}

#[test]
fn an_entrypoint_resets_the_bases_cmd_but_not_its_own_stages() {
    let mut one = stage();
    configure(&mut one, "ENTRYPOINT [\"a\"]").unwrap();
    assert_eq!(one.config.config.cmd, None);
    let mut two = stage();
    configure(&mut two, "CMD b\nENTRYPOINT a").unwrap();
    assert_eq!(two.config.config.cmd, Some(vec!["/bin/sh".into(), "-c".into(), "b".into()]));
    // A stage on that stage stands on a base again.
    let mut three = Stage::on_stage(&two);
    configure(&mut three, "ENTRYPOINT [\"c\"]").unwrap();
    assert_eq!(three.config.config.cmd, None);
}

#[test]
fn a_stages_configuration_is_what_its_lines_say() {
    let mut stage = stage();
    let lines = "ARG V=1\nENV A=$V B=\"x y\"\nENV A=2 C=$A\nLABEL a.b=$C c='$A'\nUSER $A:$A\nEXPOSE 80 8000-8001/UDP\n\
                 VOLUME [\"/a b\", \"/c\"]\nSTOPSIGNAL term\nSHELL [\"/bin/bash\", \"-ec\"]\nCMD run $A\n\
                 HEALTHCHECK --timeout=2s CMD [\"ok\"]\nONBUILD RUN make\nMAINTAINER Jane";
    configure(&mut stage, lines).unwrap();
    insta::assert_json_snapshot!(stage.config);
}

#[test]
fn impossible_values_are_refused() {
    for (line, says) in [
        ("EXPOSE 0", "invalid containerPort"),
        ("EXPOSE 80/icmp", "invalid containerPort"),
        ("EXPOSE 9-8", "invalid containerPort"),
        ("STOPSIGNAL SIGNOPE", "no such signal"),
        ("USER $nobody", "expands to nothing"),
        ("VOLUME [\"\"]", "empty string"),
        ("ENV a=${b:?missing}", "b: missing"),
    ] {
        let message = configure(&mut stage(), line).unwrap_err();
        assert!(message.contains(says), "{line}: {message}");
    }
}
