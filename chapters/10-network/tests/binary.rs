//! What the chapter's program shows.
#![allow(clippy::unwrap_used)]

use assert_cmd::Command;

fn run(arguments: &[&str]) -> (String, String) {
    let output = Command::cargo_bin("ch10-network").unwrap().args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn redacted() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("co-[0-9a-f]{10}", "[BRIDGE]");
    settings.add_filter("cooper-[0-9a-f]{8}-", "cooper-[ROOT]-");
    settings
}

#[test]
fn the_help_says_what_it_shows() {
    insta::assert_snapshot!(run(&["demo", "--help"]).0);
}

#[test]
fn the_demonstration_shows_everything_and_leaves_nothing() {
    if process::needs::program("nft") && process::needs::user_namespaces() {
        redacted().bind(|| insta::assert_snapshot!(run(&["demo"]).0));
    }
}

#[test]
fn the_story_names_each_step() {
    if !process::needs::program("nft") || !process::needs::user_namespaces() {
        return;
    }
    let story = run(&["demo", "--explain"]).1;
    for step in [
        "make a bridge, the network's switch: co-",
        "lay a cable from the bridge into the container: cv-3f2a9c01-0 (bridge port) <-> eth0 (02:42:ac:11:00:02)",
        "give the device its address: 172.17.0.2/16 on eth0",
        "send everything else to the gateway: default via 172.17.0.1",
        "hold the host's port so that nobody else takes it: 0.0.0.0:8000/tcp",
        "publish: one element in the map: 0.0.0.0:8000->80/tcp is 172.17.0.2",
        "take the device away: cv-3f2a9c01-0",
        "take the bridge away with all its cables: co-",
    ] {
        assert!(story.contains(step), "{step:?} is not in\n{story}");
    }
}
