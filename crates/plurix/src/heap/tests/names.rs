//! Roots: found by name, and only as what they are.

use super::{MIB, cluster};
use crate::{ErrorKind, Ptr};

#[test]
fn a_root_is_found_as_what_it_was_set_and_as_nothing_else() {
    let mut cluster = cluster(2, 8 * MIB);
    let [first, second] = cluster.stations() else {
        unreachable!()
    };
    first
        .transaction(|tx| {
            let number = tx.alloc(3u64)?;
            let text = tx.alloc_slice_from(b"text")?;
            tx.set_root("number", number)?;
            tx.set_root("text", text)
        })
        .unwrap();
    second.latest().unwrap();
    second
        .transaction(|tx| {
            assert_eq!(*tx.get(tx.root::<u64>("number")?)?, 3);
            assert_eq!(tx.get(tx.root::<[u8]>("text")?)?, b"text");
            assert_eq!(tx.find_root::<u64>("nothing")?, None);
            for wrong in [
                tx.root::<i64>("number").map(drop),
                tx.root::<[u64]>("number").map(drop),
                tx.root::<u8>("text").map(drop),
            ] {
                let error = wrong.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::LayoutDiffers { .. }));
            }
            let error = tx.root::<u64>("nothing").unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NoSuchRoot(_)));
            Ok(())
        })
        .unwrap();
    let roots = second.roots().unwrap();
    let found: Vec<_> = roots.iter().map(|root| (&*root.name, root.bytes)).collect();
    assert_eq!(found, [("number", 8), ("text", 4)]);
}

#[test]
fn a_name_has_1_to_64_bytes() {
    let mut cluster = cluster(1, 8 * MIB);
    let station = &mut cluster.stations()[0];
    for (good, name) in [
        (true, "a".to_owned()),
        (true, "ü".repeat(32)),
        (false, String::new()),
        (false, "x".repeat(65)),
    ] {
        let set = station.transaction(|tx| tx.set_root(&name, Ptr::<u64>::at(4096)));
        match set {
            Ok(()) => assert!(good),
            Err(error) => assert!(!good && matches!(error.kind(), ErrorKind::BadName { .. })),
        }
    }
    assert_eq!(station.roots().unwrap().len(), 2);
}

#[test]
fn many_roots_are_set_replaced_and_removed() {
    let mut cluster = cluster(1, 8 * MIB);
    let station = &mut cluster.stations()[0];
    // More than there are buckets, so that chains are walked and cut at every place.
    let name = |index: u64| format!("root {index}");
    station
        .transaction(|tx| {
            for index in 0..2000 {
                tx.set_root(&name(index), Ptr::<u64>::at(index))?;
            }
            for index in (0..2000).step_by(3) {
                tx.set_root(&name(index), Ptr::<u32>::at(index + 1))?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(station.check_heap().unwrap().roots, 2000);
    station
        .transaction(|tx| {
            for index in 0..2000 {
                let offset = if index % 3 == 0 {
                    tx.root::<u32>(&name(index))?.offset() - 1
                } else {
                    tx.root::<u64>(&name(index))?.offset()
                };
                assert_eq!(offset, index);
            }
            (0..2000).try_for_each(|index| tx.remove_root(&name(1999 - index)))
        })
        .unwrap();
    let error = station
        .transaction(|tx| tx.remove_root("root 1"))
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSuchRoot(_)));
    assert_eq!(station.usage().unwrap().blocks, 0);
    assert!(station.roots().unwrap().is_empty());
}
