//! The arithmetic of id maps, against the plainest model there is: a list of pairs.
#![allow(clippy::unwrap_used)]

use namespaces::IdMap;
use proptest::prelude::*;

/// Ranges near each other, near zero and near the last id, so that they touch and overlap often.
fn range() -> impl Strategy<Value = IdMap> {
    let place = || prop_oneof![0_u32..40, (u32::MAX - 40)..=u32::MAX, any::<u32>()];
    (place(), place(), 0_u32..12).prop_map(|(inside, outside, count)| IdMap { inside, outside, count })
}

/// What a map means: each pair of ids, written out in numbers that cannot overflow.
fn pairs(map: &IdMap) -> Vec<(u64, u64)> {
    (0..u64::from(map.count)).map(|step| (u64::from(map.inside) + step, u64::from(map.outside) + step)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_map_is_refused_exactly_if_it_is_no_pairing_of_ids(maps in prop::collection::vec(range(), 0..6)) {
        let all: Vec<(u64, u64)> = maps.iter().flat_map(pairs).collect();
        let distinct = |mut ids: Vec<u64>| {
            let many = ids.len();
            ids.sort_unstable();
            ids.dedup();
            ids.len() == many
        };
        // 4294967295 is no id: (uid_t)-1 means that nobody is named.
        let fits = all.iter().all(|(inside, outside)| inside.max(outside) < &u64::from(u32::MAX));
        let good = !maps.is_empty()
            && maps.iter().all(|map| map.count > 0)
            && fits
            && distinct(all.iter().map(|pair| pair.0).collect())
            && distinct(all.iter().map(|pair| pair.1).collect());
        prop_assert_eq!(IdMap::check(&maps).is_ok(), good);
    }

    #[test]
    fn an_id_goes_out_and_comes_back_as_itself(map in range(), id in prop_oneof![0_u32..60, any::<u32>()]) {
        let listed = pairs(&map).into_iter().find(|(inside, _)| *inside == u64::from(id)).map(|pair| pair.1);
        // An id past the end of all ids has no place outside.
        let expected = listed.and_then(|outside| u32::try_from(outside).ok());
        prop_assert_eq!(map.outside_of(id), expected);
        if let Some(outside) = expected {
            prop_assert_eq!(map.inside_of(outside), Some(id));
        }
    }

    #[test]
    fn renaming_is_a_pairing_that_moves_one_id_and_no_other(
        outside in 0_u32..u32::MAX,
        inside in prop_oneof![0_u32..3, 0_u32..u32::MAX],
        other in 0_u32..u32::MAX,
    ) {
        let maps = IdMap::renaming(outside, inside);
        prop_assert!(IdMap::check(&maps).is_ok());
        let shown = |id| maps.iter().find_map(|map| map.inside_of(id));
        prop_assert_eq!(shown(outside), Some(inside));
        if other != outside && other != inside {
            prop_assert_eq!(shown(other), Some(other));
        }
        if outside != inside {
            prop_assert_eq!(shown(inside), None);
        }
    }

    #[test]
    fn what_the_kernel_prints_is_read_back(maps in prop::collection::vec(range(), 1..6)) {
        let text: String = maps.iter().map(|map| format!("{:10} {:10} {:10}\n", map.inside, map.outside, map.count)).collect();
        prop_assert_eq!(IdMap::parse(&text).unwrap(), maps);
    }
}
