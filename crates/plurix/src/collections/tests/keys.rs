//! Keys: what their hashes are, for ever, and that each kind finds what it has put.

use std::cmp::Ordering;

use super::super::{HeapMap, HeapStr, InlineString, Key, OrderedKey, PlainKey};
use super::{MIB, assert_no_leak, cluster};
use crate::ErrorKind;

#[crate::plain]
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    row: u32,
    column: u32,
}

impl PlainKey for Place {}

#[test]
fn hashes_are_part_of_the_format() {
    let text: String = (0..40).map(|i| char::from(b'a' + i % 26)).collect();
    let found: Vec<u64> = [0, 1, 8, 9, 16, 17, 32, 33, 40]
        .map(|length| <HeapStr as Key>::hash_of(&text[..length]))
        .into();
    assert_eq!(found, EXPECTED, "{found:#x?}");
    assert_eq!(
        u64::hash_of(1),
        <[u8; 8]>::hash_of([1, 0, 0, 0, 0, 0, 0, 0])
    );
    assert_ne!(u64::hash_of(1), u32::hash_of(1));
}

const EXPECTED: [u64; 9] = [
    0x2afa_3043_c0fb_b4d2,
    0xa036_dcd5_e589_0ac0,
    0x45bb_b523_d720_032c,
    0x90a0_9f05_1390_d1df,
    0xce41_e0cd_6184_369f,
    0xad60_45a4_9947_b5f7,
    0xe3e0_aaa4_f010_6c52,
    0x098f_91f3_2a26_22bb,
    0xdca5_f799_33f3_2686,
];

#[test]
fn a_hash_spreads_over_all_of_its_bits() {
    // Of 2^16 keys that differ in few bits, each 8 bits of the hash, wherever, take all values about as
    // often.
    for step in [1u64, 8, 1 << 20, 1 << 48] {
        for shift in [0, 8, 28, 44, 56] {
            let mut seen = [0u32; 256];
            for key in 0..1u64 << 16 {
                let hash = u64::hash_of(key.wrapping_mul(step));
                seen[(hash >> shift & 0xff) as usize] += 1;
            }
            let (least, most) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
            assert!(
                *least > 128 && *most < 512,
                "{step} {shift}: {least} {most}"
            );
        }
    }
}

#[test]
fn each_kind_of_key_finds_its_value() {
    let mut cluster = cluster(1, 4 * MIB);
    let station = &mut cluster.stations()[0];
    let result = station.transaction(|tx| {
        let places = HeapMap::<Place, u64>::create(tx)?;
        let words = HeapMap::<HeapStr, u64>::create(tx)?;
        let names = HeapMap::<InlineString<8>, u64>::create(tx)?;
        let wide = HeapMap::<[u8; 33], u64>::create(tx)?;
        for i in 0..200u64 {
            let (row, column) = (i as u32 / 10, i as u32 % 10);
            places.insert(tx, Place { row, column }, i)?;
            words.insert(tx, &"word ".repeat(i as usize % 7).clone(), i)?;
            words.insert(tx, &format!("the word {i}"), i)?;
            names.insert(tx, &format!("n{i}"), i)?;
            wide.insert(tx, [i as u8; 33], i)?;
        }
        for i in 0..200u64 {
            let (row, column) = (i as u32 / 10, i as u32 % 10);
            assert_eq!(places.get(tx, Place { row, column })?, Some(&i));
            assert_eq!(words.get(tx, &format!("the word {i}"))?, Some(&i));
            assert_eq!(names.get(tx, &format!("n{i}"))?, Some(&i));
            assert_eq!(wide.get(tx, [i as u8; 33])?, Some(&i));
        }
        assert_eq!((words.len(tx)?, words.get(tx, "word")?), (207, None));
        for key in words.keys(tx)? {
            assert!(key?.as_str(tx)?.len() <= 30);
        }
        assert_eq!(words.remove(tx, "the word 7")?, Some(7));
        assert_eq!(words.remove(tx, "the word 7")?, None);
        let too_long = names.insert(tx, "nine byte", 0).unwrap_err();
        assert!(matches!(too_long.kind(), ErrorKind::StringTooLong { .. }));
        places.destroy(tx)?;
        words.destroy(tx)?;
        names.destroy(tx)?;
        wide.destroy(tx)
    });
    result.unwrap();
    assert_no_leak(station);
}

#[test]
fn strings_are_ordered_by_their_bytes() {
    let texts = [
        "", "\0", "a", "a\0", "ab", "abcd", "abcde", "abce", "b", "ä", "日本",
    ];
    let mut cluster = cluster(1, 4 * MIB);
    let station = &mut cluster.stations()[0];
    let result = station.transaction(|tx| {
        for (first, text) in texts.iter().enumerate() {
            let stored = HeapStr::new(tx, text)?;
            let inline = InlineString::<8>::new(text)?;
            for (second, other) in texts.iter().enumerate() {
                let expected: Ordering = first.cmp(&second);
                assert_eq!(stored.compare(tx, other)?, expected, "{text:?} {other:?}");
                assert_eq!(inline.compare(tx, other)?, expected);
                assert_eq!(stored.is(tx, other)?, first == second);
            }
            stored.destroy(tx)?;
        }
        assert_eq!((-1i32).compare(tx, 1)?, Ordering::Less);
        Ok(())
    });
    result.unwrap();
    assert_no_leak(station);
}
