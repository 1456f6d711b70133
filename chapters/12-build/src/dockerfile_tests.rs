#![allow(clippy::unwrap_used)]
use super::*;

fn parse(text: &str) -> Result<Dockerfile, Error> {
    Dockerfile::parse(Path::new("Dockerfile"), text)
}

fn none(_: &str) -> Option<String> {
    None
}

const STAGES: &str = "\
ARG TAG=12
FROM debian:${TAG} AS compile
RUN make
FROM compile AS test
RUN make test
FROM scratch AS data
COPY a /a
FROM scratch
COPY --from=compile /out /out
COPY --from=2 /a /a
COPY --from=busybox /bin/sh /sh
";

#[test]
fn the_target_pulls_in_what_it_reads_and_nothing_else() {
    let file = parse(STAGES).unwrap();
    let bases = file.bases(&none).unwrap();
    assert_eq!(bases[..2], [Origin::Image("debian:12".to_owned()), Origin::Stage(0)]);
    let needed = |target| file.needed(file.target(target).unwrap(), &bases).unwrap();
    assert_eq!(needed(None), [0, 2, 3]);
    assert_eq!(needed(Some("test")), [0, 1]);
    assert_eq!(needed(Some("DATA")), [2]);
    assert_eq!(needed(Some("0")), [0]);
    assert!(file.target(Some("nope")).unwrap_err().contains("compile, test, data"));
}

#[test]
fn the_graph_can_be_drawn() {
    insta::assert_snapshot!(parse(STAGES).unwrap().picture(None, &none).unwrap(), @"
    compile <- image debian:12
         3  RUN make
    test <- stage compile  (not needed: skipped)
         5  RUN make test
    data <- scratch
         7  COPY a /a
    stage-3 <- scratch, stage compile, stage data, image busybox  <- target
         9  COPY --from=compile /out /out
        10  COPY --from=2 /a /a
        11  COPY --from=busybox /bin/sh /sh
    ");
}

#[test]
fn a_build_arg_wins_over_the_default() {
    let file = parse("ARG A=x\nARG B=${A}-y\nFROM $B\n").unwrap();
    let user = |name: &str| (name == "A").then(|| "z".to_owned());
    assert_eq!(file.bases(&none).unwrap(), [Origin::Image("x-y".to_owned())]);
    assert_eq!(file.bases(&user).unwrap(), [Origin::Image("z-y".to_owned())]);
}

#[test]
fn a_user_may_name_the_platform_that_this_is() {
    assert!(parse("FROM --platform=$BUILDPLATFORM a").unwrap().bases(&none).is_ok());
    let error = parse("FROM a\nFROM --platform=linux/arm64 a").unwrap().bases(&none).unwrap_err();
    assert!(error.to_string().starts_with("Dockerfile:2: platform \"linux/arm64\""), "{error}");
}

#[test]
fn mistakes_name_file_line_and_text() {
    for (text, says) in [
        ("RUN x\n", "Dockerfile:1: no build stage"),
        ("ARG a\n", "Dockerfile: no FROM"),
        ("FROM a AS b\nFROM c AS B\n", "Dockerfile:2: duplicate name"),
        ("FROM a AS 1\n", "Dockerfile:1: invalid name"),
        ("FROM a b\n", "Dockerfile:1: FROM requires"),
    ] {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.starts_with(says), "{message}");
    }
    let file = parse("FROM $nothing").unwrap();
    assert!(file.bases(&none).unwrap_err().to_string().contains("should not be blank"));
    let unknown = parse("FROM a\n\nRUNN make \\\n  all\n").unwrap_err().to_string();
    assert_eq!(unknown, "Dockerfile:3: unknown instruction: RUNN (did you mean RUN?)\n    3 | RUNN make   all");
}

#[test]
fn a_copy_reads_only_earlier_stages() {
    let file = parse("FROM a AS one\nCOPY --from=1 x y\nFROM b AS two\nCOPY --from=two x y\n").unwrap();
    let bases = file.bases(&none).unwrap();
    assert!(file.needed(0, &bases).unwrap_err().to_string().contains("Dockerfile:2: --from=1: no such stage"));
    assert!(file.needed(1, &bases).unwrap_err().to_string().contains("Dockerfile:4: --from=two"));
}
