//! What of a run is left out. A run is a function of its seed and of a mask, and each part of it
//! draws from a random stream of its own, so that what is left stays much as it was: this is what
//! makes a failing run smaller without losing the failure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// What of a run is left out; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mask {
    /// Only these stations take part, counted from 0; the others never start.
    pub stations: Option<Numbers>,
    /// Only these fault strokes happen, counted from 0 in the order in which they would.
    pub faults: Option<Numbers>,
    /// Faults and random programs end after this event.
    pub until_event: Option<u64>,
}

impl Mask {
    pub(crate) fn has_station(&self, index: usize) -> bool {
        let only = self.stations.as_ref();
        only.is_none_or(|only| only.0.contains(&(index as u64)))
    }

    pub(crate) fn has_stroke(&self, stroke: u64) -> bool {
        let only = self.faults.as_ref();
        only.is_none_or(|only| only.0.contains(&stroke))
    }

    pub(crate) fn ends_chaos(&self, events: u64) -> bool {
        self.until_event.is_some_and(|until| events >= until)
    }
}

/// The options of the command that give this mask, each after a space.
impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stations) = &self.stations {
            write!(f, " --stations-only {stations}")?;
        }
        if let Some(faults) = &self.faults {
            write!(f, " --faults-only {faults}")?;
        }
        if let Some(until) = self.until_event {
            write!(f, " --until-event {until}")?;
        }
        Ok(())
    }
}

/// A set of numbers, written as `0,2,5-9`, or as `none`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Numbers(pub BTreeSet<u64>);

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

/// A text that does not say which numbers are meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no number and no range of numbers; write such as 0,2,5-9, or none")]
pub struct NumbersError(String);

/// Longer ranges are a slip of the hand, and would fill memory.
const RANGE_MAX: u64 = 1_000_000;

impl FromStr for Numbers {
    type Err = NumbersError;

    fn from_str(text: &str) -> Result<Self, NumbersError> {
        if text == "none" {
            return Ok(Self::default());
        }
        let mut numbers = BTreeSet::new();
        for piece in text.split(',') {
            let wrong = || NumbersError(piece.to_owned());
            let number = |digits: &str| digits.trim().parse::<u64>().map_err(|_| wrong());
            let (first, last) = match piece.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(piece)?, number(piece)?),
            };
            if last < first || last - first > RANGE_MAX {
                return Err(wrong());
            }
            numbers.extend(first..=last);
        }
        Ok(Self(numbers))
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let mut numbers = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while numbers.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for text in ["none", "0", "0,2,5-9", "3,4", "7,9-11,20"] {
            let numbers: Numbers = text.parse().expect("a list");
            assert_eq!(numbers.to_string(), text);
        }
        let numbers: Numbers = "5,0-2,1".parse().expect("a list");
        assert_eq!(numbers, [0, 1, 2, 5].into_iter().collect());
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "a", "1,,2", "3-1", "-1", "0-18446744073709551615"] {
            assert!(text.parse::<Numbers>().is_err(), "{text}");
        }
    }
}
