//! `cooper -H`: the command line in front of dockerd, beside docker's own client in front of the same.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};

use process::needs;
use tests::deeds::words;
use tests::engine::{Said, program, run};
use tests::hosts::Docker;

/// Both clients of one daemon.
struct Clients {
    docker: Docker,
    cooper: std::path::PathBuf,
}

impl Clients {
    fn cooper(&self, line: &str) -> Said {
        let mut command = Command::new(&self.cooper);
        run(command.arg("-H").arg(self.docker.address()).args(words(line)).stdin(Stdio::null())).unwrap()
    }

    /// Both print the same, and end the same.
    fn agree(&self, line: &str) {
        let (ours, theirs) = (self.cooper(line), self.docker.docker(&words(line)).unwrap());
        assert_eq!((ours.code, ours.out), (theirs.code, theirs.out), "{line}: {} {}", ours.err, theirs.err);
    }
}

/// What is asked of both, of one state.
const ALIKE: &[&str] = &[
    "ps -a --no-trunc --format '{{.ID}} {{.Image}} {{.Command}} {{.CreatedAt}} {{.Status}} {{.Names}} {{.Labels}} {{.LocalVolumes}} {{.Networks}}'",
    "ps -q",
    "images --format '{{.Repository}} {{.Tag}} {{.ID}} {{.Size}}'",
    "images -q --no-trunc",
    "volume ls --format '{{.Driver}} {{.Name}}'",
    "network ls",
    "network inspect none",
    "inspect nobody",
    "port idle",
    "logs idle",
    "rm nobody",
    "run --rm --network none busybox:1 sh -c 'echo out; echo err >&2; exit 7'",
    "run --rm --network none busybox:1 nothing",
    "run --rm --network none busybox:1 /etc",
    "run --rm --network none -t busybox:1 sh -c 'test -t 1 && echo terminal'",
    "run --rm --network none --pull never nothing:1 true",
    "wait idle",
];

#[test]
fn what_is_sent_to_dockerd_is_done_and_printed_as_docker_does_it() {
    let able = ["dockerd", "docker", "containerd", "runc", "busybox", "unshare", "nsenter", "ip", "tar"];
    if !needs::root() || !able.iter().all(|name| needs::program(name)) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    // What is looked at is the daemon and not its runtime: it gets the one that it came with.
    let runc = needs::find_program("runc").unwrap();
    let docker = Docker::new(place.path(), Path::new(&runc)).unwrap();
    let clients = Clients { docker, cooper: program("cooper").unwrap() };
    let id = clients.cooper(
        "create --name idle --network none -v kept:/data -v /tmp:/t:ro --mount type=volume,target=/loose --tmpfs /m:size=1m \
         -l tier=back -e A=b --restart on-failure:3 -m 64m --cpus 0.5 --ulimit nofile=100:200 --cap-drop NET_RAW \
         --security-opt no-new-privileges --security-opt systempaths=unconfined --stop-timeout 3 --health-cmd true \
         --ipc shareable --add-host a:10.0.0.1 --dns 10.0.0.2 -h name -u 1:2 -w /tmp --init busybox:1 sleep 1000",
    );
    let asked = "inspect -f '{{with .HostConfig}}{{.Binds}} {{.Tmpfs}} {{.RestartPolicy.Name}} {{.Memory}} {{.NanoCpus}} {{.CapDrop}} \
                 {{.SecurityOpt}} {{.MaskedPaths}} {{.IpcMode}} {{.ExtraHosts}} {{.Dns}} {{.Init}}{{end}} \
                 {{with .Config}}{{.Hostname}} {{.User}} {{.WorkingDir}} {{.Cmd}} {{.StopTimeout}} {{.Labels}}{{end}}' idle";
    let told = "[/tmp:/t:ro] map[/m:size=1m] on-failure 67108864 500000000 [NET_RAW] [no-new-privileges] [] shareable \
                [a:10.0.0.1] [10.0.0.2] true name 1:2 /tmp [sleep 1000] 3 map[tier:back]\n";
    assert_eq!(id.ok().trim().len(), 64);
    assert_eq!(clients.cooper(asked).ok(), told);
    ALIKE.iter().for_each(|line| clients.agree(line));
    clients.cooper("rename idle walker").ok();
    assert_eq!(clients.cooper("start walker").ok(), "walker\n");
    let inside = clients.cooper("exec -u 3 -e B=c walker sh -c 'id -u; echo $A $B >&2; exit 5'");
    assert_eq!((inside.code, inside.out.as_str(), inside.err.as_str()), (5, "3\n", "b c\n"));
    clients.agree("stats --no-stream --format '{{.Name}} {{.NetIO}}' walker");
    clients.cooper("pause walker").ok();
    clients.agree("inspect -f '{{.State.Status}}' walker");
    clients.cooper("unpause walker").ok();
    clients.cooper("update --restart no --memory 48m --memory-swap 96m walker").ok();
    clients.agree("inspect -f '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}' walker");
    clients.cooper("kill walker").ok();
    assert_eq!(clients.cooper("wait walker").ok(), "137\n");
    clients.cooper("rm -v walker").ok();
    clients.cooper("tag busybox:1 other:2").ok();
    assert_eq!(clients.cooper("rmi other:2").ok(), "Untagged: other:2\n");
    clients.cooper("volume rm kept").ok();
    // What came with a later version of the API than this daemon speaks is not dropped on the way.
    let late = clients.cooper("create --annotation a=b busybox:1");
    assert!(
        late.code != 0 && late.err.contains("--annotation cannot be sent to a daemon: this one speaks version 1.41")
    );
}
