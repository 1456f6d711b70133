//! Both resolvers, held against a model of a few lines: random trees of links, random paths.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use proptest::prelude::*;
use rootfs::{Resolver, Root};
use rustix::fs::OFlags;

/// A tree without a file system: what a name means is a place in a list.
#[derive(Debug, Clone)]
enum Node {
    Directory(BTreeMap<String, usize>),
    File,
    Link(String),
}

#[derive(Debug, Clone)]
struct Model {
    nodes: Vec<Node>,
    /// Where each node was made, as a path without links.
    places: Vec<PathBuf>,
}

impl Model {
    fn new() -> Self {
        Self { nodes: vec![Node::Directory(BTreeMap::new())], places: vec![PathBuf::new()] }
    }

    /// Adds a node below the directory that `choice` picks, if the name is free there.
    fn add(&mut self, choice: usize, name: &str, node: Node) {
        let directories: Vec<usize> =
            (0..self.nodes.len()).filter(|place| matches!(self.nodes[*place], Node::Directory(_))).collect();
        let (directory, new) = (directories[choice % directories.len()], self.nodes.len());
        let Node::Directory(entries) = &mut self.nodes[directory] else { unreachable!() };
        if !entries.contains_key(name) {
            entries.insert(name.to_owned(), new);
            self.places.push(self.places[directory].join(name));
            self.nodes.push(node);
        }
    }

    /// What `path` means, seen from the last of `above` (the root first): itself with all above it, or an errno.
    fn find(&self, above: &[usize], path: &str, follow: bool, links: &mut usize) -> Result<Vec<usize>, Errno> {
        let mut here = if path.starts_with('/') { vec![0] } else { above.to_vec() };
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        for (place, name) in names.iter().enumerate() {
            let Node::Directory(entries) = &self.nodes[*here.last().unwrap()] else { return Err(Errno::ENOTDIR) };
            match *name {
                "." => {}
                ".." if here.len() > 1 => drop(here.pop()),
                ".." => {}
                name => {
                    let found = *entries.get(name).ok_or(Errno::ENOENT)?;
                    let last = place + 1 == names.len() && !path.ends_with('/');
                    match &self.nodes[found] {
                        Node::Link(target) if !last || follow => {
                            *links += 1;
                            if *links > 40 {
                                return Err(Errno::ELOOP);
                            }
                            here = self.find(&here, target, true, links)?;
                        }
                        _ => here.push(found),
                    }
                }
            }
        }
        let is_directory = matches!(self.nodes[*here.last().unwrap()], Node::Directory(_));
        if path.ends_with('/') && !is_directory { Err(Errno::ENOTDIR) } else { Ok(here) }
    }

    /// Makes the tree, and says which inode each node has become.
    fn build(&self, at: &Path) -> Vec<u64> {
        let make = |(node, place): (&Node, &PathBuf)| {
            let path = at.join(place);
            match node {
                Node::Directory(_) if place.as_os_str().is_empty() => {}
                Node::Directory(_) => std::fs::create_dir(&path).unwrap(),
                Node::File => std::fs::write(&path, "").unwrap(),
                Node::Link(target) => symlink(target, &path).unwrap(),
            }
            path.symlink_metadata().unwrap().ino()
        };
        self.nodes.iter().zip(&self.places).map(make).collect()
    }
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![4 => "[a-c]", 2 => Just("..".to_owned()), 1 => Just(".".to_owned())];
    let names = prop::collection::vec(name, 1..6).prop_map(|names| names.join("/"));
    (any::<bool>(), names, prop::bool::weighted(0.2)).prop_map(|(absolute, names, slash)| {
        ["", "/"][usize::from(absolute)].to_owned() + &names + ["", "/"][usize::from(slash)]
    })
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        3 => Just(Node::Directory(BTreeMap::new())),
        1 => Just(Node::File),
        4 => path().prop_map(Node::Link),
    ]
}

fn model() -> impl Strategy<Value = Model> {
    prop::collection::vec((any::<usize>(), "[a-c]", node()), 0..14).prop_map(|additions| {
        let mut model = Model::new();
        additions.into_iter().for_each(|(choice, name, node)| model.add(choice, &name, node));
        model
    })
}

/// How often the search must have met each kind of end, or it was a search of nothing.
fn interesting(outcomes: &[Result<usize, Errno>]) {
    for errno in [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP] {
        assert!(outcomes.contains(&Err(errno)), "no path ended in {errno}");
    }
    let found = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(found * 10 > outcomes.len(), "{found} of {} paths led anywhere", outcomes.len());
}

#[test]
fn both_resolvers_find_what_the_model_finds() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcomes = std::cell::RefCell::new(Vec::new());
    let paths = prop::collection::vec((path(), any::<bool>()), 12);
    let done = runner.run(&(model(), paths), |(model, paths)| {
        // A level above the root: whoever leaves it finds names there as well.
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("b");
        ["a", "b", "c"].iter().for_each(|name| std::fs::create_dir(home.path().join(name)).unwrap());
        let inodes = model.build(&root);
        for (path, follow) in paths {
            let expected = model.find(&[0], &path, follow, &mut 0).map(|found| *found.last().unwrap());
            let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
            for resolver in [Resolver::Openat2, Resolver::Walk] {
                let opened = Root::open(&root).unwrap().resolved_by(resolver).open_in(Path::new(&path), flags);
                let found = opened.map(|fd| rustix::fs::fstat(&fd).unwrap().st_ino).map_err(|error| error.errno());
                prop_assert_eq!(found, expected.map(|node| inodes[node]), "{} by {:?}", path, resolver);
            }
            outcomes.borrow_mut().push(expected);
        }
        Ok(())
    });
    done.unwrap();
    interesting(&outcomes.borrow());
}

#[test]
fn a_resolver_that_joins_strings_is_caught_by_the_same_model() {
    let mut model = Model::new();
    model.add(0, "a", Node::Link("/c".to_owned()));
    model.add(0, "c", Node::Directory(BTreeMap::new()));
    let home = tempfile::tempdir().unwrap();
    let inodes = model.build(home.path());
    for path in ["a", "../b"] {
        let expected = model.find(&[0], path, true, &mut 0).map(|found| inodes[*found.last().unwrap()]);
        let naive = std::fs::metadata(home.path().join(path)).map(|found| found.ino());
        assert_ne!(naive.ok(), expected.ok().or(Some(0)), "{path}");
    }
}
