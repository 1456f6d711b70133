//! Behaviours that only a process with one thread can show: it is the one that may clone.
//!
//! Each is an ordinary test; the runner calls them one after the other in its only thread.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod descriptors;
mod failures;
mod inheritance;
mod many;
mod scene;
mod signals;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let groups = [descriptors::TESTS, failures::TESTS, inheritance::TESTS, many::TESTS, signals::TESTS];
    let trials = groups.into_iter().flatten().map(|(name, test)| {
        Trial::test(*name, move || {
            let before = scene::Held::now();
            test();
            before.is_all_there_is();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Behaviours by their names.
type Tests = &'static [(&'static str, fn())];

/// Lists functions with their names.
#[macro_export]
macro_rules! tests {
    ($($name:ident)*) => { &[$((stringify!($name), $name)),*] };
}
