//! Messages as the trace shows them: in one line, without the bytes of pages.

use std::fmt;

use plurix_wire::frame::Message;
use plurix_wire::message::peer::{Home, ToPeer, Written};
use plurix_wire::message::recovery_line::LineAnswer;
use plurix_wire::message::{Item, PageRun, Request, ToLeader, ToStation};

use crate::trace::{Class, Life};

/// A message that the trace can show.
pub(crate) trait Told: Message {
    /// Writes it in one line.
    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    /// What it is about.
    fn class(&self) -> Class;
}

/// Shows a message when it is written, and costs nothing when it is not.
pub(crate) struct Brief<'a, M>(pub(crate) &'a M);

impl<M: Told> fmt::Display for Brief<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.tell(f)
    }
}

impl Told for ToLeader {
    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Request {
            incarnation,
            generation,
            request,
        } = self
        else {
            return tell_session(self, f);
        };
        let life = Life(*incarnation);
        let commit = match request {
            Request::Commit(commit) => commit,
            Request::Fetch { run, snapshot } => {
                return write!(f, "{life} fetch {} at {snapshot}", Runs(&[*run]));
            }
            Request::Drop { pages } => return write!(f, "{life} drop {}", Runs(pages)),
            Request::Latest => return write!(f, "{life} latest?"),
            Request::Durable { through } => return write!(f, "{life} durable {through}?"),
            Request::Watch => return write!(f, "{life} watches"),
            Request::Token { attempt_us } => return write!(f, "{life} token for {attempt_us} us?"),
            Request::ReturnToken => return write!(f, "{life} returns the token"),
            Request::Heartbeat => return write!(f, "{life} alive"),
            Request::Leave => return write!(f, "{life} leave"),
            Request::Numbers(_) => return write!(f, "{life} numbers"),
        };
        let (sequence, snapshot) = (commit.sequence, commit.snapshot);
        write!(f, "commit {life}{sequence} at {generation}{snapshot} reads")?;
        for read in &commit.reads {
            write!(f, " {}:{:x}", read.page, read.lines.0)?;
        }
        write!(f, " writes {:?}", commit.writes)
    }

    fn class(&self) -> Class {
        match self {
            Self::Join(_) | Self::Resume(_) => Class::Session,
            Self::Status | Self::Shutdown | Self::Checkpoint | Self::Ask(_) => Class::Session,
            Self::Request { request, .. } => match request {
                Request::Commit(_) => Class::Commit,
                Request::Fetch { .. } | Request::Drop { .. } | Request::Latest => Class::Page,
                Request::Token { .. } | Request::ReturnToken => Class::Page,
                Request::Heartbeat
                | Request::Durable { .. }
                | Request::Watch
                | Request::Numbers(_) => Class::Beat,
                Request::Leave => Class::Session,
            },
            Self::RecoveryLine { .. } => Class::Page,
        }
    }
}

impl Told for ToStation {
    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = match self {
            Self::Batch(batch) => batch,
            Self::Welcome(welcome) => {
                let (station, life) = (welcome.station, Life(welcome.incarnation));
                let (term, generation) = (welcome.term, welcome.generation);
                let (through, count) = (welcome.through, welcome.members.len());
                return write!(
                    f,
                    "welcome {station} as {life}, {term} {generation}{through}, {count} members"
                );
            }
            Self::Refused(why) => return write!(f, "refused: {why}"),
            Self::RecoveryLine(LineAnswer::Pages(pages)) => {
                return write!(f, "pages of a line {}", Runs(&[pages.run]));
            }
            Self::Status(_)
            | Self::Stopping
            | Self::Checkpointed(_)
            | Self::RecoveryLine(_)
            | Self::Insight(_) => {
                return write!(f, "{self:?}");
            }
        };
        write!(f, "{} through {} [", batch.sequence, batch.through)?;
        for (index, item) in batch.items.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            tell_item(item, f)?;
        }
        f.write_str(if batch.last { "]." } else { "]…" })
    }

    fn class(&self) -> Class {
        let Self::Batch(batch) = self else {
            return Class::Session;
        };
        let has = |wanted: fn(&Item) -> bool| batch.items.iter().any(wanted);
        if has(|item| matches!(item, Item::Committed { .. } | Item::Refused { .. })) {
            Class::Commit
        } else if has(|item| matches!(item, Item::Page(_) | Item::Latest | Item::Token)) {
            Class::Page
        } else if batch.items.is_empty() {
            Class::Beat
        } else {
            Class::Stream
        }
    }
}

impl Told for ToPeer {
    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim { run } => write!(f, "claim {}", Runs(&[*run])),
            Self::Claimed(homes) => write!(f, "claimed {}", Homes(homes)),
            Self::Fetch { interval, run } => write!(f, "fetch {} in {interval}", Runs(&[*run])),
            Self::Pages(pages) if pages.bytes.is_empty() => {
                write!(f, "zeros {}", Runs(&[pages.run]))
            }
            Self::Pages(pages) => write!(f, "pages {}", Runs(&[pages.run])),
            Self::Changes(changes) => {
                write!(f, "changes of {}: {:?}", changes.interval, changes.diffs)
            }
            Self::Arrive(arrive) => {
                let (written, wanted) = (Runs(&arrive.written), Runs(&arrive.wanted));
                let (interval, sent) = (arrive.interval, &arrive.sent);
                write!(
                    f,
                    "at {interval}, wrote {written}, wants {wanted}, sent {sent:?}"
                )
            }
            Self::Release(release) => {
                write!(f, "behind {}, written", release.interval)?;
                for Written { run, sole } in &release.written {
                    write!(f, " {}", Runs(&[*run]))?;
                    sole.map_or(Ok(()), |sole| write!(f, " by {sole} alone"))?;
                }
                let (moved, expected) = (Homes(&release.moved), &release.expected);
                write!(f, ", moved {moved}, sent {expected:?}")
            }
            Self::HandBack { lock, written } => {
                write!(f, "hands back {lock}, wrote {}", Runs(written))
            }
            Self::Grant { lock, written } => write!(f, "grants {lock}, written {}", Runs(written)),
            other => write!(f, "{other:?}"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Claim { .. } | Self::Claimed(_) | Self::Fetch { .. } | Self::Pages(_) => {
                Class::Page
            }
            Self::Changes(_) | Self::Applied(_) => Class::Stream,
            Self::Add { .. } | Self::Added { .. } => Class::Beat,
            Self::Leave | Self::GiveUp => Class::Session,
            _ => Class::Commit,
        }
    }
}

/// Where pages are kept.
struct Homes<'a>(&'a [Home]);

impl fmt::Display for Homes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (index, home) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{} to {}", Runs(&[home.run]), home.rank)?;
        }
        Ok(())
    }
}

fn tell_session(message: &ToLeader, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match message {
        ToLeader::Join(join) => match join.station {
            Some(station) => write!(f, "join as {station}"),
            None => f.write_str("join"),
        },
        ToLeader::Resume(resume) => {
            let (life, pages) = (Life(resume.incarnation), Runs(&resume.pages));
            let (generation, through) = (resume.generation, resume.through);
            write!(f, "resume {life} at {generation}{through} with {pages}")
        }
        other => write!(f, "{other:?}"),
    }
}

/// Runs of pages, as `p3` or `p3-p5`.
struct Runs<'a>(&'a [PageRun]);

impl fmt::Display for Runs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no pages");
        }
        for (index, run) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}", run.first)?;
            if run.count > 1 {
                write!(f, "-p{}", u64::from(run.first.0) + u64::from(run.count) - 1)?;
            }
        }
        Ok(())
    }
}

fn tell_item(item: &Item, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match item {
        Item::Committed { sequence, number } => write!(f, "{sequence}={number}"),
        Item::Refused { sequence, .. } => write!(f, "{sequence} refused"),
        Item::Delta(delta) => write!(f, "delta {}", delta.number),
        Item::Page(page) => write!(f, "page {} {}..{}", page.page, page.base, page.held_from),
        Item::Lines(lines) => write!(f, "lines {} {:?}", lines.number, lines.writes),
        Item::Latest => f.write_str("latest"),
        Item::Token => f.write_str("token"),
        Item::Joined(member) => write!(f, "joined {}", Life(member.incarnation)),
        Item::Left(incarnation) => write!(f, "left {}", Life(*incarnation)),
    }
}
