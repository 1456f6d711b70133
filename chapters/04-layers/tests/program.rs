//! What chapter 4's program prints, for root and for an ordinary user's namespace of a single id.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ch04-layers");

/// Changes, diffs, commits and applies, in `dir`; what was said.
fn trip(dir: &Path, wrap: &[&str]) -> String {
    std::fs::create_dir_all(dir.join("base/old")).unwrap();
    std::fs::write(dir.join("base/greeting"), "hello\n").unwrap();
    std::fs::write(dir.join("base/old/file"), "old\n").unwrap();
    let stack = "--lower base --upper new";
    let change = "rm greeting; rm -r old; mkdir old; echo bye > farewell; echo new > old/new; touch -d @0 old . farewell old/new";
    let mut said = String::new();
    for arguments in [
        format!("change {stack} -- sh -ec \"{change}\""),
        format!("diff {stack}"),
        format!("commit {stack} layer.tar"),
        "stack new base".to_owned(),
        "digest layer.tar".to_owned(),
        "apply layer.tar copy".to_owned(),
        "change --lower copy --lower base --upper other -- find . ! -type d".to_owned(),
    ] {
        let line = format!("{PROGRAM} {arguments} | sort");
        let shell = [wrap, &["sh", "-c", &line]].concat();
        let output = Command::new(shell[0]).args(&shell[1..]).current_dir(dir).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        said += &format!("$ ch04-layers {arguments}\n{text}");
    }
    said
}

#[test]
fn a_trip_from_layers_to_an_archive_and_back() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(trip(dir.path(), &[]));
}

#[test]
fn the_same_trip_in_a_user_namespace_with_a_single_id_gives_the_same_digest() {
    if !process::needs::user_namespaces() || !process::needs::program("unshare") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Whiteouts are devices here too, and opaque marks are user. attributes.
    insta::assert_snapshot!("a_trip_from_layers_to_an_archive_and_back", trip(dir.path(), &["unshare", "-Urm"]));
}

#[test]
fn without_overlayfs_a_change_has_the_same_outcome_and_says_so() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("base/old")).unwrap();
    std::fs::write(dir.path().join("base/greeting"), "hello\n").unwrap();
    let run = |line: &str| {
        let line = format!("PATH={}:$PATH; {line}", Path::new(PROGRAM).parent().unwrap().display());
        let output = Command::new("sh").args(["-ec", &line]).current_dir(dir.path()).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let stack = "--lower base --upper new";
    let said = run(&format!("ch04-layers change --copy {stack} -- sh -ec 'rm greeting; echo new > old/new'"));
    assert_eq!(said, "note: no overlay is used: the layers are copied, and what changes is found by comparing\n");
    run(&format!("ch04-layers change --copy {stack} -- sh -ec 'echo more > more'"));
    assert_eq!(run(&format!("ch04-layers diff {stack}")), "D /greeting\nA /more\nC /old\nA /old/new\n");
}

#[test]
fn modes_and_owners_are_the_archives_whatever_the_umask() {
    if !process::needs::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mkdir from && cd from && touch own read all tool other && chmod 640 own && chmod 444 read && chmod 666 all
         chown 7:8 other && chmod 4755 tool && chmod 6664 other && mkdir group && chmod 2775 group && touch group/file
         tar --numeric-owner -cf ../layer.tar . && find . -printf '%P %m %U:%G\\n' | sort > ../listing && cd ..
         for umask in 0 022 077; do
             mkdir to-$umask && (umask $umask && {PROGRAM} apply layer.tar to-$umask)
             (cd to-$umask && find . -printf '%P %m %U:%G\\n') | sort | diff listing -
         done"
    );
    let output = Command::new("sh").args(["-ec", &script]).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && !said.contains(['<', '>']), "{said}");
}
