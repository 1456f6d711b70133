//! Whole builds, by the chapter's own program, from the built-in image `host`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A context and an engine's root, for one test.
struct Kitchen {
    dir: TempDir,
}

impl Kitchen {
    /// `None`, with a printed reason, where containers cannot run.
    fn new(dockerfile: &str) -> Option<Kitchen> {
        if !process::needs::root() {
            return None;
        }
        let kitchen = Kitchen { dir: tempfile::Builder::new().prefix("ch12-").tempdir().unwrap() };
        kitchen.write("Dockerfile", dockerfile);
        Some(kitchen)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.dir.path().join("context").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ch12-build"))
            .current_dir(self.dir.path())
            .env_remove("SOURCE_DATE_EPOCH")
            .args(["build", "--root", "root", "--network", "none"])
            .args(arguments)
            .arg("context")
            .output()
            .unwrap()
    }

    /// Builds, and returns what was printed with everything that varies replaced.
    fn build(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{}{told}", String::from_utf8_lossy(&output.stdout));
        redacted(&String::from_utf8(output.stdout).unwrap())
    }

    /// Builds what must fail, and returns the message.
    fn refuse(&self) -> String {
        let output = self.command(&[]);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// No container, no half layer, no mount is left.
    fn left_nothing(&self) {
        let root = self.dir.path().join("root");
        for name in ["containers", "build/work", "run/containers"] {
            let left: Vec<_> = fs::read_dir(root.join(name)).into_iter().flatten().map(|e| e.unwrap().path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&root.display().to_string()), "{mounts}");
    }
}

/// Digests and times by name, line by line.
fn redacted(text: &str) -> String {
    let word = |word: &str| -> String {
        let seconds = word.strip_suffix('s').unwrap_or(word);
        if let Some(at) = word.find("sha256:").filter(|at| word.len() >= at + 71) {
            format!("{}[DIGEST]{}", &word[..at], &word[at + 71..])
        } else if seconds.contains('.') && seconds.parse::<f64>().is_ok() {
            "[TIME]".to_owned()
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The lines that say why, with their steps.
fn reasons(text: &str) -> String {
    let telling = |line: &&str| line.contains("] ") || line.contains(" because ") || line.ends_with("CACHED");
    text.lines().filter(telling).filter(|line| !line.contains("internal")).collect::<Vec<_>>().join("\n")
}

const STAGES: &str = "\
ARG BASE=host
FROM ${BASE} AS compile
WORKDIR /src
ARG WHO=world
COPY main.txt ./
RUN echo \"hello $WHO\" > out && cat main.txt >> out
FROM host AS unused
RUN exit 1
FROM host
LABEL about=$BASE
WORKDIR /app
COPY --from=compile /src/out .
RUN cat out
COPY notes/ notes/
CMD [\"cat\", \"/app/out\"]
";

#[test]
fn a_second_build_is_cached_and_a_touched_file_rebuilds_from_its_copy() {
    let Some(kitchen) = Kitchen::new(STAGES) else { return };
    kitchen.write("main.txt", "first\n");
    kitchen.write("notes/a", "a\n");
    insta::assert_snapshot!("first", kitchen.build(&["-t", "demo:1"]));
    let second = kitchen.build(&["-t", "demo:1"]);
    assert_eq!(second.matches("CACHED").count(), 7, "{second}");
    assert_eq!(second.matches("DONE").count(), 5, "two of loading, two of FROM, one of exporting: {second}");

    kitchen.write("notes/a", "changed\n");
    insta::assert_snapshot!("notes-changed", reasons(&kitchen.build(&[])));
    insta::assert_snapshot!("argument-changed", reasons(&kitchen.build(&["--build-arg", "WHO=you"])));
    let without = kitchen.build(&["--no-cache", "--target", "compile"]);
    assert!(!without.contains("CACHED"), "{without}");
    kitchen.left_nothing();
}

#[test]
fn a_failed_step_names_its_line_and_code_and_leaves_nothing() {
    let Some(kitchen) = Kitchen::new("FROM host\nRUN echo first\nRUN echo told; \\\n    exit 3\n") else { return };
    assert_eq!(
        kitchen.refuse(),
        "ch12-build: context/Dockerfile:3: process \"/bin/sh -c echo told;     exit 3\" did not complete successfully: \
         exit code: 3\n    3 | RUN echo told;     exit 3\n"
    );
    kitchen.write("Dockerfile", "FROM host\nCOPY nothing /\n");
    let told = kitchen.refuse();
    assert!(told.contains("context/Dockerfile:2: ") && told.contains("ENOENT"), "{told}");
    kitchen.write("Dockerfile", "FROM host\nRUN [\"/no/such\"]\n");
    let told = kitchen.refuse();
    assert!(told.contains("context/Dockerfile:2: ") && told.contains("/no/such"), "{told}");
    kitchen.left_nothing();
}

/// What is copied is checked inside, by RUN.
const COPIES: &str = "\
FROM host AS base
RUN mkdir -p /real /etc && ln -s /real /link && echo app:x:100:101::/:/bin/sh >> /etc/passwd && echo www:x:33: >> /etc/group
FROM base
WORKDIR /link/deep
COPY a.txt .
COPY --chown=app:www --chmod=640 a.txt /owned
COPY dir /into
COPY [\"with blank\", \"/b/\"]
COPY *.txt /all/
ADD archive.tar /unpacked/
COPY archive.tar /kept/
COPY <<END /inline/
it's ${HOME:-here} \\$kept
END
RUN set -e; \\
  test -f /real/deep/a.txt; test ! -L /link/deep/a.txt; \\
  test \"$(stat -c %u:%g:%a /owned)\" = 100:33:640; \\
  test \"$(stat -c %u:%g /into/x)\" = 0:0; test -f /into/sub/y; test ! -e /into/secret; \\
  test -f '/b/with blank'; test -f /all/a.txt; test -f /all/b.txt; \\
  test -f /unpacked/a.txt; test -f /kept/archive.tar; \\
  test \"$(cat /inline/END)\" = \"it's here \\$kept\"
";

#[test]
fn files_land_where_docker_puts_them_and_never_outside() {
    let Some(kitchen) = Kitchen::new(COPIES) else { return };
    for name in ["a.txt", "b.txt", "with blank", "dir/x", "dir/sub/y", "dir/secret"] {
        kitchen.write(name, name);
    }
    kitchen.write(".dockerignore", "**/secret\n");
    let context = kitchen.dir.path().join("context");
    let mut archive = tar::Builder::new(fs::File::create(context.join("archive.tar")).unwrap());
    archive.append_path_with_name(context.join("a.txt"), "a.txt").unwrap();
    archive.finish().unwrap();
    kitchen.build(&[]);
    assert!(!Path::new("/real").exists());
    kitchen.left_nothing();
}

#[test]
fn with_an_epoch_the_same_build_twice_is_the_same_image() {
    let file = "FROM host\nCOPY a /a\nRUN mkdir /d; echo x > /d/x\nENV A=b\n";
    let Some(kitchen) = Kitchen::new(file) else { return };
    kitchen.write("a", "a");
    let id = || {
        let output = Command::new(env!("CARGO_BIN_EXE_ch12-build"))
            .current_dir(kitchen.dir.path())
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .args(["build", "--root", "root", "--network", "none", "--no-cache", "context"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned()
    };
    let first = id();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(id(), first);
    assert!(first.starts_with("sha256:"), "{first}");
}
