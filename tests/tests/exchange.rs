//! Images of every tool and in every form, pulled and run by Cooper, and handed back: the same digests on all sides.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use layers::Digest;
use process::needs;
use tests::engine::{Cooper, Who, run};
use tests::peers::{Beside, Containers};

fn all_there(programs: &[&str]) -> bool {
    needs::root() && programs.iter().all(|name| needs::program(name))
}

/// What a registry says an image is, byte by byte.
fn digest_at(peers: &Containers, image: &str) -> Digest {
    Digest::of(peers.skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{image}")]).ok().as_bytes())
}

/// Pulls and runs an image, and hands it back under another name; that name.
fn there_and_back(cooper: &Cooper, peers: &Containers, image: &str) -> String {
    let said = cooper.run(&["pull", image]);
    let digest = digest_at(peers, image);
    assert!(said.err.contains(&format!("Digest: {digest}")), "{image}: {}", said.err);
    assert_eq!(said.ok().trim(), image);
    let said = cooper.run(&["run", "--rm", "--network", "none", image, "echo", "it runs"]).ok();
    assert_eq!(said, "it runs\n", "{image}");
    let back = image.replace(":1", "-back:1");
    cooper.run(&["tag", image, &back]).ok();
    cooper.run(&["push", "--quiet", &back]).ok();
    assert_eq!(digest_at(peers, &back), digest, "{back}");
    back
}

/// busybox with one layer more, in each form that layers and manifests come in, as `ADDRESS/FORM:1`.
fn push_forms(peers: &Containers, dir: &Path, address: &str) {
    let remote = |name: &str| format!("docker://{address}/{name}:1");
    for (name, flags, layer) in [
        ("schema2", &["--format", "v2s2"][..], "vnd.docker.image.rootfs.diff.tar.gzip"),
        ("zstd", &["--format", "oci", "--compression-format", "zstd"], "image.layer.v1.tar+zstd"),
    ] {
        // A layer of its own: one that the registry has already would be taken, however it was compressed.
        fs::write(dir.join("containers/note"), name).unwrap();
        let container = peers.buildah(&["from", "busybox:1"]).ok();
        peers.buildah(&["copy", "--quiet", container.trim(), "note", "/note"]).ok();
        peers.buildah(&["commit", "--quiet", "--squash", "--rm", container.trim(), name]).ok();
        let ends = [name, &remote(name)];
        peers.buildah(&[&["push", "--quiet", "--tls-verify=false"], flags, &ends].concat()).ok();
        let raw = peers.skopeo(&["inspect", "--raw", "--tls-verify=false", &remote(name)]).ok();
        assert!(raw.contains(layer), "{name}: {raw}");
    }
    // Only a directory takes layers that are not compressed; from there they go as they are.
    for (name, packed, layer) in
        [("plain", "zstd", "image.layer.v1.tar\""), ("schema2-plain", "schema2", "vnd.docker.image.rootfs.diff.tar\"")]
    {
        let loose = format!("dir:{}", dir.join(name).display());
        let unpack = ["copy", "--quiet", "--src-tls-verify=false", "--dest-decompress", &remote(packed), &loose];
        peers.skopeo(&unpack).ok();
        let send = ["copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", &loose, &remote(name)];
        peers.skopeo(&send).ok();
        let raw = peers.skopeo(&["inspect", "--raw", "--tls-verify=false", &remote(name)]).ok();
        assert!(raw.contains(layer), "{name}: {raw}");
    }
}

#[test]
fn images_of_all_tools_and_forms_run_here_and_go_back_unchanged() {
    if !all_there(&["docker-registry", "skopeo", "podman", "buildah", "umoci", "busybox"]) {
        return;
    }
    let Beside { cooper, registry, peers, place, busybox } = Beside::new(Who::Caller).unwrap();
    let address = registry.address();
    let remote = |name: &str| format!("docker://{address}/{name}:1");
    push_forms(&peers, place.path(), address);
    peers.podman(&["pull", "--quiet", "--tls-verify=false", &busybox]).ok();
    peers.podman(&["push", "--quiet", "--tls-verify=false", &busybox, &remote("podman")]).ok();
    let layout = place.path().join("layout").display().to_string();
    let from = ["copy", "--quiet", "--src-tls-verify=false", &remote("busybox"), &format!("oci:{layout}:made")];
    peers.skopeo(&from).ok();
    let tree = place.path().join("containers/tree/bin").display().to_string();
    let insert = ["insert", "--image", &format!("{layout}:made"), &tree, "/more"];
    run(Command::new("umoci").args(insert)).unwrap().ok();
    peers.skopeo(&["copy", "--quiet", "--dest-tls-verify=false", &format!("oci:{layout}:made"), &remote("umoci")]).ok();
    peers.buildah(&["manifest", "create", "many"]).ok();
    peers.buildah(&["manifest", "add", "--tls-verify=false", "many", &remote("busybox")]).ok();
    for (name, format, kind) in [
        ("index", "oci", "application/vnd.oci.image.index.v1+json"),
        ("list", "v2s2", "application/vnd.docker.distribution.manifest.list.v2+json"),
    ] {
        let flags = ["manifest", "push", "--quiet", "--tls-verify=false", "--all", "--format", format];
        peers.buildah(&[&flags[..], &["many", &remote(name)]].concat()).ok();
        let raw = peers.skopeo(&["inspect", "--raw", "--tls-verify=false", &remote(name)]).ok();
        assert!(raw.contains(kind), "{name}: {raw}");
    }

    let mut backs = Vec::new();
    for name in ["busybox", "schema2", "zstd", "plain", "schema2-plain", "podman", "umoci", "index", "list"] {
        backs.push(there_and_back(&cooper, &peers, &format!("{address}/{name}:1")));
    }
    for back in &backs[1..3] {
        let run = ["run", "--rm", "--quiet", "--network", "none", "--tls-verify=false", back, "echo", "with podman"];
        assert_eq!(peers.podman(&run).ok(), "with podman\n", "{back}");
    }
    let found = cooper.run(&["search", "--quiet", &format!("{address}/umoci")]).ok();
    assert_eq!(found, format!("{address}/umoci\n{address}/umoci-back\n"));
    assert_eq!(
        cooper.run(&["search", "--quiet", "--list-tags", &format!("{address}/zstd")]).ok(),
        format!("{address}/zstd:1\n")
    );
    let shown = cooper.run(&["manifest", "inspect", &format!("{address}/index:1")]).ok();
    assert!(shown.contains("\"manifests\""), "{shown}");
    cooper.finish();
}

/// A registry over the same storage, docker's daemon, and what they are to do, in a network of their own.
const DOCKER: &str = r#"
ip link set lo up || exit 1
docker-registry serve registry.yml > /dev/null 2>&1 &
registry=$!
export DOCKER_HOST="unix://$PWD/docker.sock" DOCKER_CONFIG="$PWD"
dockerd --data-root "$PWD/docker" --exec-root "$PWD/docker-run" --pidfile "$PWD/docker.pid" --host "$DOCKER_HOST" \
    --bridge=none --iptables=false --ip-forward=false --ip-masq=false --storage-driver vfs --cgroup-parent "/$PARENT" > docker.log 2>&1 &
daemon=$!
n=0
until docker version > /dev/null 2>&1; do n=$((n + 1)); [ $n -lt 150 ] || break; sleep 0.1; done
docker pull --quiet "$FROM" && docker run --rm --network none "$FROM" echo with docker \
    && docker tag "$FROM" "$TO" && docker push --quiet "$TO"
code=$?
[ $code -eq 0 ] || tail -5 docker.log >&2
kill $daemon $registry
wait $daemon $registry
rmdir /sys/fs/cgroup/*/"$PARENT" /sys/fs/cgroup/"$PARENT" 2> /dev/null
exit $code
"#;

#[test]
fn docker_runs_what_cooper_pushed_and_the_other_way_round() {
    if !all_there(&["docker-registry", "skopeo", "buildah", "busybox", "dockerd", "docker", "unshare", "ip"]) {
        return;
    }
    let Beside { cooper, registry, peers, place, busybox } = Beside::new(Who::Caller).unwrap();
    let back = there_and_back(&cooper, &peers, &busybox);
    let theirs = format!("{}/docker:1", registry.address());
    let said = with_docker(place.path(), &back, &theirs);
    assert!(said.contains("with docker\n"), "{said}");
    there_and_back(&cooper, &peers, &theirs);
    cooper.finish();
}

fn with_docker(dir: &Path, from: &str, to: &str) -> String {
    fs::write(dir.join("script"), DOCKER).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--", "sh", "script"]).current_dir(dir);
    command.env("FROM", from).env("TO", to).env("PARENT", format!("cooper-test-{}", std::process::id()));
    run(&mut command).unwrap().ok()
}
