//! What this machine's kernel may not have, on one that does: cgroup v2, as root and as an ordinary user.
//!
//! Each test boots a machine, so there are few of them, and each does much.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

/// Programs of this machine that the guest is made with, or made from.
fn can_boot() -> bool {
    ["qemu-system-x86_64", "apt-get", "busybox"].iter().all(|program| process::needs::program(program))
}

fn vm(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vm")).args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, text.replace('\r', ""))
}

#[test]
fn every_test_of_the_cgroup_chapter_passes_on_v2() {
    if !can_boot() {
        return;
    }
    let (output, text) = vm(&["test", "-p", "ch05-cgroups"]);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("SKIP"), "{text}");
    // Devices, an OOM kill of the whole group, pressure: each of them was there to pass.
    for name in [
        "a_device_that_the_rules_do_not_name_cannot_be_opened",
        "on_v2_one_of_a_group_that_runs_out_of_memory_takes_the_others_along",
        "a_crowd_waits_and_v2_counts_for_how_long",
        "a_disk_can_be_given_a_ceiling_and_lose_it_again",
    ] {
        assert!(text.contains(&format!("test {name} ... ok")), "{name}: {text}");
    }
}

/// What an administrator does for a user, and what the user does then.
const DELEGATION: &str = r#"
tree=/sys/fs/cgroup
su learner -c 'ch05-cgroups where'
echo --- delegated
mkdir $tree/learner
echo "+cpu +memory +pids +io" >$tree/cgroup.subtree_control
for file in . cgroup.procs cgroup.threads cgroup.subtree_control; do chown learner $tree/learner/$file; done
echo $$ >$tree/learner/cgroup.procs
su learner -c 'ch05-cgroups where'
su learner -c 'ch05-cgroups oom --memory 16'
su learner -c 'ch05-cgroups run --pids 4 -- cat /proc/self/cgroup' 2>/dev/null
echo --- left
cd $tree/learner && ls -d */
cat $tree/learner/cgroup.procs
"#;

#[test]
fn an_ordinary_user_limits_what_was_delegated_and_is_told_when_nothing_was() {
    if !can_boot() {
        return;
    }
    let (output, _) = vm(&["-p", "ch05-cgroups", "run", "sh", "-c", DELEGATION]);
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    insta::with_settings!({filters => vec![
        (r"(?m)^found: .*: cpuset cpu [a-z ]+", "found: cgroup v2 at /sys/fs/cgroup: [CONTROLLERS]"),
        (r"ch05-\d+", "ch05-[PID]"),
    ]}, { insta::assert_snapshot!(text); });
}

/// A container with limits, a network and layers; devices that are made and cannot be opened; one that is killed for its
/// memory; one that serves a port; what is left; and an ordinary user's.
const WHOLE: &str = r#"
cooper run --rm --hostname cask --memory 64m --cpus 0.5 --pids-limit 20 --cap-add MKNOD host sh -c '
    cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max /proc/self/cgroup
    hostname
    ip -4 -o addr show eth0 | grep -c 172.17.0.
    mount | grep -c "^overlay on / "
    mount | grep "^cgroup2 on" | sort -u
    echo changed >/etc/motd && cat /etc/motd
    mknod /null c 1 3 && echo x >/null && echo "null works"
    mknod /kmsg c 1 11 && cat /kmsg
    mknod /disk b 7 0 && cat /disk
'
echo --- too much memory
cooper run --rm --memory 16m host sh -c 'x=x; while :; do x=$x$x; done'
echo exit code $?
echo --- a server
cooper run -d --name server -p 8081:80 host sh -c 'while :; do printf "HTTP/1.0 200 OK\n\nserved\n" | nc -l -p 80; done' >/dev/null
until wget -qO- http://127.0.0.1:8081/ 2>/dev/null; do sleep 0.2; done
cooper exec server cat /proc/self/cgroup
cooper rm -f server
# Its cable, and with the last cable the bridge, go when everybody knows of its end.
n=0; while ls /sys/class/net | grep -q ^co- && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done
echo --- left
ls /sys/fs/cgroup | grep cooper
ls /sys/class/net
nft list ruleset
echo --- an ordinary user
su learner -c 'cooper run --rm --network none hello | head -n 1'
su learner -c 'cooper run --rm --network none --name wants-limits --memory 32m hello'
echo --- a kernel without overlayfs: a program merges the layers
chmod 666 /dev/fuse
rmmod overlay
cooper info | grep '^Storage Driver'
story='rm -r /home && mkdir /home && echo x >/home/new; grep -c fuse-overlayfs /proc/self/mountinfo'
cooper run --name merged --network none host sh -c "$story"
cooper diff merged
cooper start -a merged
cooper rm merged
ps | grep -c '[f]use-overlayfs -f'
rm /usr/bin/fuse-overlayfs
echo --- nor is there such a program: they are copied
cooper info | grep '^Storage Driver'
cooper run --rm --network none host sh -c "$story"
su learner -c "cooper run --rm --network none host sh -c '$story; ls /home'"
"#;

#[test]
fn a_whole_container_runs_with_limits_network_and_layers() {
    if !can_boot() || !process::needs::program("nft") || !process::needs::program("fuse-overlayfs") {
        return;
    }
    let nft = process::needs::find_program("nft").unwrap();
    let fuse = process::needs::find_program("fuse-overlayfs").unwrap();
    let with = ["--with", nft.to_str().unwrap(), "--with", fuse.to_str().unwrap()];
    let (output, all) = vm(&[&["-p", "cooper"], &with[..], &["run", "sh", "-c", WHOLE]].concat());
    // Seen only if it fails. What cargo says while it builds is not the machine's word.
    println!("{all}");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    insta::assert_snapshot!(text);
}

/// An ordinary user's containers in a subtree that was delegated to him, limited by the kernel as root's are.
const ROOTLESS: &str = r#"
tree=/sys/fs/cgroup
mkdir $tree/learner
echo "+cpu +memory +pids +io" >$tree/cgroup.subtree_control
for file in . cgroup.procs cgroup.threads cgroup.subtree_control; do chown learner $tree/learner/$file; done
echo $$ >$tree/learner/cgroup.procs
cat >/tmp/story <<'END'
cooper run --rm --network none --memory 64m --cpus 0.5 --pids-limit 20 host sh -c '
    cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max /proc/self/cgroup
    mount | grep "^cgroup2 on" | sort -u
'
cooper run --rm --network none --memory 16m host sh -c 'x=x; while :; do x=$x$x; done'
echo exit code $?
cooper run --rm --network none --pids-limit 5 host sh -c 'for n in 1 2 3 4 5 6 7 8; do sleep 1 & done' 2>&1 | grep -c fork
cooper run -d --name steady --network none --memory 64m host sleep 1000 >/dev/null
cooper update --memory 32m steady
cooper exec steady cat /sys/fs/cgroup/memory.max /proc/self/cgroup
cooper pause steady; cooper ps --format '{{.Names}} {{.Status}}' | sed 's/Up .* (/Up (/'
cooper unpause steady
cooper stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' steady | sed 's/ [^ ]* \/ / [USED] \/ /'
cooper rm -f steady
END
su learner -c 'sh /tmp/story'
echo --- left
find $tree/learner -mindepth 1 -type d | sed s,$tree/,,
"#;

#[test]
fn an_ordinary_users_containers_are_limited_where_that_was_delegated() {
    if !can_boot() {
        return;
    }
    let (output, all) = vm(&["-p", "cooper", "run", "sh", "-c", ROOTLESS]);
    // Seen only if it fails. What cargo says while it builds is not the machine's word.
    println!("{all}");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    insta::assert_snapshot!(text);
}

/// A profile that an administrator has loaded, and containers that ask for it: made, entered, an ordinary user's, and one
/// that asks for a profile that nobody has loaded.
const FENCED: &str = r#"
mount -t securityfs none /sys/kernel/security
apparmor_parser --config-file /dev/null --skip-cache --replace <<'END' || exit 9
profile fence flags=(attach_disconnected) {
    file,
    mount,
    signal,
    capability,
    deny /etc/fenced w,
    deny capability chown,
}
END
cat >/tmp/story <<'END'
cooper info | grep '^Security Options'
# One stream for both: two of them come in no order.
story='exec 2>&1; cat /proc/self/attr/current; echo x >/etc/fenced; echo x >/etc/open; chown 1:1 /etc/open; cat /etc/open'
cooper run --rm --network none --security-opt apparmor=fence host sh -c "$story"
echo --- without
cooper run --rm --network none host sh -c "$story"
echo --- entered
cooper run -d --name fenced --network none --security-opt apparmor=fence host sleep 1000 >/dev/null
cooper exec fenced sh -c "$story"
cooper inspect --format '{{.AppArmorProfile}}' fenced
cooper rm -f fenced
echo --- unknown
cooper create --name lost --network none --security-opt apparmor=nowhere host true >/dev/null
cooper start lost
echo exit code $?
cooper rm lost
END
sh /tmp/story 2>&1
echo --- an ordinary user
su learner -c 'sh /tmp/story 2>&1'
"#;

#[test]
fn apparmor_confines_a_container_by_the_profile_that_it_asks_for() {
    if !can_boot() || !process::needs::program("apparmor_parser") {
        return;
    }
    let parser = process::needs::find_program("apparmor_parser").unwrap();
    let (output, all) = vm(&["-p", "cooper", "--with", parser.to_str().unwrap(), "run", "sh", "-c", FENCED]);
    // Seen only if it fails. What cargo says while it builds is not the machine's word.
    println!("{all}");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    insta::assert_snapshot!(text);
}
