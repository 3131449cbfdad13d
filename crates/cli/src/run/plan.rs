//! Who is killed when.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::units::{parse_duration, show_duration};

/// A process of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Server,
    /// By its number, from 1.
    Station(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("page server"),
            Self::Station(number) => write!(f, "station {number}"),
        }
    }
}

/// A planned death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) who: Who,
    /// After the program was set up.
    pub(crate) at: Duration,
}

impl FromStr for Kill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no plan; write it like 2@1s or server@500ms");
        let (who, at) = text.split_once('@').ok_or_else(wrong)?;
        let who = match who {
            "server" => Who::Server,
            number => Who::Station(number.parse().map_err(|_| wrong())?),
        };
        let at = parse_duration(at)?;
        Ok(Self { who, at })
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.who, show_duration(self.at))
    }
}

/// The kills still to come, the next one last.
#[derive(Debug)]
pub(super) struct Plan(Vec<Kill>);

impl Plan {
    pub(super) fn new(mut kills: Vec<Kill>) -> Self {
        kills.sort_by_key(|kill| std::cmp::Reverse(kill.at));
        Self(kills)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.last().map(|kill| kill.at)
    }

    /// Takes one that is due at `now`.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Who> {
        self.0.pop_if(|kill| kill.at <= now).map(|kill| kill.who)
    }

    /// Those that did not come, in order.
    pub(super) fn rest(&self) -> Vec<String> {
        self.0.iter().rev().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_come_in_the_order_of_their_times() {
        let kills = ["3@2s", "server@500ms", "1@1s"].map(|text| text.parse().unwrap());
        let mut plan = Plan::new(kills.to_vec());
        let ms = Duration::from_millis;
        assert_eq!((plan.next(), plan.take_due(ms(400))), (Some(ms(500)), None));
        assert_eq!(plan.take_due(ms(1200)), Some(Who::Server));
        assert_eq!(plan.take_due(ms(1200)), Some(Who::Station(1)));
        assert_eq!((plan.take_due(ms(1200)), plan.rest().len()), (None, 1));
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        for text in ["", "2", "2@", "@1s", "two@1s", "2@1", "-1@1s"] {
            assert!(text.parse::<Kill>().is_err(), "{text}");
        }
    }
}
