//! A few threads that share a list of work, and stop together.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::Result;

/// Does `work` with every item, `hands` of them at a time, in the list's order.
///
/// The first failure sets `stop`, which work under way is expected to look at, and is returned;
/// the failures that stopping causes are not news.
pub(crate) fn each<T: Sync>(
    items: &[T],
    hands: usize,
    stop: &AtomicBool,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let first_failure = Mutex::new(None);
    let hand = || {
        while !stop.load(Ordering::Relaxed) {
            let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            if let Err(error) = work(item) {
                let mut first = first_failure.lock().unwrap_or_else(PoisonError::into_inner);
                if !stop.swap(true, Ordering::Relaxed) {
                    *first = Some(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..hands.clamp(1, items.len().max(1)) {
            scope.spawn(hand);
        }
    });
    first_failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Error;

    fn failure(reason: &str) -> Error {
        Error::Credentials { subject: String::new(), reason: reason.to_owned() }
    }

    #[test]
    fn every_item_is_done_once() {
        let sum = AtomicUsize::new(0);
        let items: Vec<usize> = (1..=100).collect();
        each(&items, 4, &AtomicBool::new(false), |item| {
            sum.fetch_add(*item, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert_eq!(sum.into_inner(), 5050);
    }

    #[test]
    fn the_first_failure_ends_the_work_and_is_the_one_returned() {
        let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let items: Vec<usize> = (0..100).collect();
        let error = each(&items, 1, &stop, |item| {
            done.fetch_add(1, Ordering::Relaxed);
            if *item == 3 { Err(failure("three")) } else { Ok(()) }
        })
        .unwrap_err();
        assert!(error.to_string().contains("three"));
        assert_eq!(done.into_inner(), 4);
    }
}
