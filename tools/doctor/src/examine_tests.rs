#![allow(clippy::unwrap_used)]
use super::*;
use crate::finding::{Grade, is_fit};
use crate::trial::Trial;

/// An ordinary user's machine on which everything works.
fn healthy() -> Facts {
    Facts {
        kernel: "6.12.0-1-amd64".into(),
        uid: 1000,
        user: Some("ana".into()),
        max_user_namespaces: Some(15000),
        unprivileged_userns_clone: Some(true),
        apparmor_restricts_userns: false,
        trial: Trial { user_namespace: Ok(()), overlay: Ok(()) },
        subuids: 65_536,
        subgids: 65_536,
        newuidmap: Helper::Works("/usr/bin/newuidmap".into()),
        newgidmap: Helper::Works("/usr/bin/newgidmap".into()),
        cgroups: Cgroups::V2 { delegated: vec!["cpu".into(), "memory".into(), "pids".into()] },
        overlay: true,
        fuse_overlayfs: None,
        tun: Tun::Open,
        pasta: Some("/usr/bin/pasta".into()),
        slirp4netns: None,
        nft: Some("/usr/sbin/nft".into()),
        seccomp: true,
        landlock: Some(6),
        security_modules: vec!["AppArmor".into()],
    }
}

/// What is not well on a machine, as it is printed; and whether containers run at all.
fn complaints(facts: &Facts) -> (String, bool) {
    let findings = examine(facts);
    let bad = findings.iter().filter(|finding| finding.grade != Grade::Good).map(ToString::to_string);
    (bad.collect::<Vec<_>>().join("\n"), is_fit(&findings))
}

fn refused() -> Trial {
    Trial { user_namespace: Err("EPERM".into()), overlay: Err("EPERM".into()) }
}

#[test]
fn a_healthy_machine_is_healthy() {
    assert_eq!(complaints(&healthy()), (String::new(), true));
    let all: Vec<String> = examine(&healthy()).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn each_way_to_forbid_user_namespaces_has_its_own_remedy() {
    let machines = [
        Facts { max_user_namespaces: None, trial: refused(), ..healthy() },
        Facts { max_user_namespaces: Some(0), trial: refused(), ..healthy() },
        Facts { unprivileged_userns_clone: Some(false), trial: refused(), ..healthy() },
        Facts { apparmor_restricts_userns: true, trial: refused(), ..healthy() },
        Facts { trial: refused(), ..healthy() },
    ];
    let said = machines.map(|facts| {
        let (said, fit) = complaints(&facts);
        assert!(!fit, "{said}");
        said.lines().take(2).collect::<Vec<_>>().join("\n")
    });
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_restriction_that_does_not_restrict_us_is_no_finding() {
    // A profile allows this very program: what was tried counts, not what a switch says.
    assert_eq!(complaints(&Facts { apparmor_restricts_userns: true, ..healthy() }), (String::new(), true));
}

#[test]
fn what_rootless_containers_lack_is_weak_and_has_a_remedy() {
    let machines = [
        Facts { subuids: 0, subgids: 0, ..healthy() },
        Facts { subuids: 1000, user: None, ..healthy() },
        Facts { newuidmap: Helper::Missing, ..healthy() },
        Facts { newgidmap: Helper::Powerless("/usr/bin/newgidmap".into()), ..healthy() },
        Facts { cgroups: Cgroups::V2 { delegated: vec!["memory".into(), "pids".into()] }, ..healthy() },
        Facts { cgroups: Cgroups::Hybrid, ..healthy() },
        Facts { cgroups: Cgroups::None, ..healthy() },
        Facts { trial: Trial { overlay: Err("EPERM".into()), ..healthy().trial }, ..healthy() },
        Facts {
            trial: Trial { overlay: Err("EPERM".into()), ..healthy().trial },
            fuse_overlayfs: Some("/usr/bin/fuse-overlayfs".into()),
            ..healthy()
        },
        Facts { tun: Tun::Closed, ..healthy() },
        Facts { tun: Tun::Missing, ..healthy() },
        Facts { pasta: None, ..healthy() },
        Facts { nft: None, ..healthy() },
    ];
    let said = machines.map(|facts| {
        let (said, fit) = complaints(&facts);
        assert!(fit && said.contains("->"), "{said}");
        said
    });
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_no_container_can_do_without_is_missing() {
    let machines = [
        Facts { kernel: "4.19.0-27-amd64".into(), ..healthy() },
        Facts { kernel: "5.11.0".into(), ..healthy() },
        Facts { kernel: "4.4.0-19041-Microsoft".into(), ..healthy() },
        Facts { seccomp: false, ..healthy() },
    ];
    let said = machines.map(|facts| {
        let (said, fit) = complaints(&facts);
        assert!(!fit, "{said}");
        said
    });
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn wsl_2_is_fit_and_is_told_about_its_control_groups() {
    let wsl = Facts { kernel: "6.6.87.2-microsoft-standard-WSL2".into(), ..healthy() };
    assert_eq!(complaints(&wsl), (String::new(), true));
    let (said, fit) = complaints(&Facts { cgroups: Cgroups::V1, uid: 0, ..wsl });
    assert!(fit && said.contains("cgroup_no_v1=all"), "{said}");
}

#[test]
fn root_needs_no_lent_ids_and_no_helpers() {
    let facts = Facts {
        uid: 0,
        subuids: 0,
        newuidmap: Helper::Missing,
        tun: Tun::Missing,
        pasta: None,
        trial: refused(),
        max_user_namespaces: Some(0),
        cgroups: Cgroups::Hybrid,
        ..healthy()
    };
    let (said, fit) = complaints(&facts);
    assert!(fit && said.starts_with("weak user namespaces"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn this_machine_can_be_examined() {
    let facts = Facts::gather();
    let findings = examine(&facts);
    assert!(findings.iter().any(|finding| finding.what == "kernel" && finding.found == facts.kernel));
    assert!(findings.iter().all(|finding| finding.grade == Grade::Good || finding.remedy.is_some()));
}
