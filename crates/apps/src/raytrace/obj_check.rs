//! Checks the numbers of Wavefront OBJ and MTL texts before the reader of the format sees them: it
//! does not say which line is at fault, and takes a colour of two components for impossible.

use super::LoadError;

/// What a face can refer to, in the order in which a corner names it: `v/vt/vn`.
const KINDS: [&str; 3] = ["v", "vt", "vn"];
const REFERENCES: [&str; 3] = [
    "the number of a vertex",
    "the number of a texture vertex",
    "the number of a normal",
];

/// Checks the vertices and faces of an OBJ text.
///
/// # Errors
/// [`LoadError::Syntax`] for the first line that cannot be meant.
pub(super) fn check_obj(file: &str, text: &str) -> Result<(), LoadError> {
    let total = KINDS.map(|kind| lines(text).filter(|line| line.keyword == kind).count());
    let mut so_far = [0; 3];
    for line in lines(text) {
        match line.keyword {
            "v" | "vn" => line.numbers(file, 3, "a coordinate")?,
            "vt" => line.numbers(file, 2, "a texture coordinate")?,
            "f" | "l" => {
                for corner in line.words() {
                    check_corner(&line, file, corner, so_far, total)?;
                }
            }
            _ => {}
        }
        if let Some(kind) = KINDS.iter().position(|kind| *kind == line.keyword) {
            so_far[kind] += 1;
        }
    }
    Ok(())
}

/// Checks the colours and coefficients of an MTL text.
///
/// # Errors
/// As [`check_obj`].
pub(super) fn check_mtl(file: &str, text: &str) -> Result<(), LoadError> {
    lines(text).try_for_each(|line| match line.keyword {
        "Ka" | "Kd" | "Ks" | "Ke" => line.numbers(file, 3, "a component of a colour"),
        "Ns" | "Ni" | "d" => line.numbers(file, 1, "a number"),
        _ => Ok(()),
    })
}

/// Checks one corner of a face. Numbers count from 1; negative ones count back from the line.
fn check_corner(
    line: &Line<'_>,
    file: &str,
    corner: &str,
    so_far: [usize; 3],
    total: [usize; 3],
) -> Result<(), LoadError> {
    let mut parts = corner.split('/');
    for (kind, part) in parts.by_ref().take(3).enumerate() {
        if part.is_empty() && kind > 0 {
            continue;
        }
        let exists = part.parse::<i64>().is_ok_and(|number| {
            let limit = if number < 0 {
                so_far[kind]
            } else {
                total[kind]
            };
            number != 0 && number.unsigned_abs() <= limit as u64
        });
        if !exists {
            let found = format!("'{}' of {}", short(part), total[kind]);
            return Err(line.fault(file, REFERENCES[kind], found));
        }
    }
    match parts.next() {
        None => Ok(()),
        Some(_) => Err(line.fault(file, "at most v/vt/vn", format!("'{}'", short(corner)))),
    }
}

/// A line that says something.
struct Line<'a> {
    /// From 1.
    number: usize,
    keyword: &'a str,
    rest: &'a str,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().zip(1..).filter_map(|(line, number)| {
        let line = line.trim();
        let keyword = line.split_whitespace().next()?;
        let rest = &line[keyword.len()..];
        Some(Line {
            number,
            keyword,
            rest,
        })
    })
}

impl<'a> Line<'a> {
    fn words(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.rest.split_whitespace()
    }

    /// Checks that at least `count` numbers follow the keyword.
    fn numbers(&self, file: &str, count: usize, what: &'static str) -> Result<(), LoadError> {
        let mut words = self.words();
        for _ in 0..count {
            match words.next() {
                Some(word) if word.parse::<f32>().is_ok() => {}
                Some(word) => return Err(self.fault(file, what, format!("'{}'", short(word)))),
                None => return Err(self.fault(file, what, "the end of the line".to_owned())),
            }
        }
        Ok(())
    }

    fn fault(&self, file: &str, expected: &'static str, found: String) -> LoadError {
        LoadError::Syntax {
            file: file.to_owned(),
            line: self.number,
            expected,
            found,
        }
    }
}

/// The beginning of a word: a file that is no text at all may hold very long ones.
fn short(word: &str) -> String {
    word.chars().take(40).collect()
}
