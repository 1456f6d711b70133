//! An engine in a container, as it were: its store lies on an overlay, on which the kernel stacks no other.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use process::needs;

/// `$1` is cooper, `$2` a directory, `$3` what the mount needs in a user namespace.
const STORY: &str = r#"
set -e
exec 2>&1
cd "$2"
mkdir lower upper work place context
mount -t overlay -o "lowerdir=lower,upperdir=upper,workdir=work$3" overlay place
cooper() { "$cooper" --root "$place/store" "$@"; }
cooper=$1 place=$PWD/place
cooper info | sed -n 's/^Storage Driver: \([a-z-]*\) .*/driver: \1/p'
cooper run --name one --network none host sh -c '
    mkdir /made && echo 1 >/made/file && rm -r /home && mkdir /home'
cooper diff one
cooper commit one committed >/dev/null
cooper run --rm --network none committed cat /made/file
echo --- the same one again
cooper run --rm --network none host sh -c 'test ! -e /made && echo another has its own files'
cooper start -a one || echo "exit code $?"
cooper rm one >/dev/null
echo --- a build
echo copied >context/file
printf 'FROM host\nRUN rm -r /home && echo run >/run-was-here\nCOPY file /copied\nRUN cat /copied /run-was-here\n' >context/Dockerfile
cooper build --network none -q -t built context >/dev/null
cooper run --rm --network none built sh -c 'cat /copied /run-was-here; test ! -e /home && echo /home is gone'
echo --- left
cooper system prune -f >/dev/null
ls place/store/containers place/store/layers/tmp
"#;

const EXPECTED: &str = "\
driver: DRIVER
C /home
A /made
A /made/file
1
--- the same one again
another has its own files
mkdir: cannot create directory '/made': File exists
exit code 1
--- a build
copied
run
/home is gone
--- left
place/store/containers:

place/store/layers/tmp:
";

fn told(command: &mut Command, root: &Path, options: &str) -> String {
    let output = command.args(["sh", "-c", STORY, "sh", env!("CARGO_BIN_EXE_cooper")]).arg(root).arg(options).output();
    let output = output.unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What stands in for the kernel's overlayfs on this machine.
fn expected() -> String {
    EXPECTED.replace("DRIVER", if needs::find_program("fuse-overlayfs").is_some() { "fuse-overlayfs" } else { "copy" })
}

fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    directory
}

#[test]
fn on_an_overlay_something_stands_in_and_everything_else_is_the_same() {
    if !needs::root() {
        return;
    }
    let root = open_directory();
    // What is mounted in there goes with the namespace.
    assert_eq!(told(Command::new("unshare").args(["--mount"]), root.path(), ""), expected());
}

#[test]
fn so_it_is_for_an_ordinary_user() {
    if !needs::root() || !needs::account("learner") || !needs::user_namespaces() || !needs::program("newuidmap") {
        return;
    }
    let (root, place) = (open_directory(), open_directory());
    let lending = needs::lending("/dev/fuse", place.path());
    let mut command = Command::new(&lending[0]);
    command.args(&lending[1..]);
    command.args(["runuser", "-u", "learner", "--", "unshare", "--user", "--map-root-user", "--map-auto", "--mount"]);
    assert_eq!(told(&mut command, root.path(), ",userxattr"), expected());
    // Its files belong to ids that only its namespace has names for.
    std::process::Command::new("rm").arg("-rf").arg(root.path()).status().unwrap();
}
