//! Draws the events of a run, one after the other, and remembers what is still open: messages under
//! way, transactions, processes that are down.

use std::collections::BTreeMap;

use plurix_protocol::Time;

use super::layout::{HEAD, Layout, MARGIN};
use super::paper::{CHARACTER, Paper, fit};
use crate::story::Story;
use crate::trace::{Class, Ending, Entry, Kind, Lane};

/// Half the width of a transaction's box, and of the bar of a frozen process.
const BOX: f64 = 6.0;
const BAR: f64 = 10.0;
/// Times closer together than this are written once, in pixels.
const TIME_STEP: f64 = 13.0;
/// How far a message gets that does not arrive, of its way.
const LOST_WAY: f64 = 0.6;

/// Draws everything.
pub(super) fn draw(story: &Story, layout: &Layout, paper: &mut Paper) {
    let is_whole = story.skipped == 0;
    let mut pen = Pen {
        layout,
        paper,
        sent: BTreeMap::new(),
        running: BTreeMap::new(),
        frozen: BTreeMap::new(),
        lives: BTreeMap::new(),
        dated: (String::new(), 0.0),
    };
    for (index, entry) in story.entries.iter().enumerate() {
        pen.entry(entry, layout.row(index));
    }
    pen.close(is_whole);
    for lane in layout.lanes() {
        plate(layout, paper, *lane);
    }
}

struct Pen<'a> {
    layout: &'a Layout,
    paper: &'a mut Paper,
    /// Messages under way.
    sent: BTreeMap<u64, Message<'a>>,
    /// Transactions that have not ended, by station: since when, and at which snapshot.
    running: BTreeMap<usize, (f64, String)>,
    /// Bars that have not ended: since when, and until when.
    frozen: BTreeMap<Lane, (f64, Time)>,
    /// What the process of each lane is, and since when.
    lives: BTreeMap<Lane, (Life, f64)>,
    /// The last time that was written, and its height.
    dated: (String, f64),
}

/// What a lane's process is.
#[derive(Clone, Copy)]
enum Life {
    Unborn,
    Up,
    Down,
}

/// A message that has left.
#[derive(Clone, Copy)]
struct Message<'a> {
    from: Lane,
    to: Lane,
    y: f64,
    class: Class,
    text: &'a str,
}

impl<'a> Pen<'a> {
    fn entry(&mut self, entry: &'a Entry, y: f64) {
        let (text, line) = (entry.text.as_str(), entry.to_string());
        if !matches!(entry.kind, Kind::Vanished { .. }) {
            self.date(entry.time, y);
        }
        match entry.kind {
            Kind::Note => self.note(text, y),
            Kind::Remark(lane) => self.remark("dot", lane, text, &line, y),
            Kind::Sent {
                frame,
                from,
                to,
                class,
            } => {
                let message = Message {
                    from,
                    to,
                    y,
                    class,
                    text,
                };
                match frame {
                    Some(frame) => drop(self.sent.insert(frame, message)),
                    None => self.cut_short(message, y + 3.0, true),
                }
            }
            Kind::Delivered { frame, .. } => self.deliver(frame, y),
            Kind::Vanished { frame } => {
                if let Some(message) = self.sent.remove(&frame) {
                    self.cut_short(message, y, true);
                }
            }
            Kind::Fault { stroke } => {
                self.rule(["strike", "redpill"], &format!("{stroke} {text}"), y)
            }
            Kind::Healed => self.rule(["heal", "greenpill"], "faults end", y),
            Kind::Started(lane) => {
                self.live(lane, true, y);
                self.remark("dot", lane, "starts", &line, y);
            }
            Kind::Ended(lane) => {
                self.live(lane, false, y);
                let point = [self.layout.x(lane), y];
                self.paper.labels.cross("x", point);
                self.remark("none", lane, "ends", &line, y);
            }
            Kind::Frozen { lane, until } => {
                self.thaw(lane, y);
                self.frozen.insert(lane, (y, until));
            }
            Kind::Began {
                station, snapshot, ..
            } => {
                self.running.insert(station, (y, snapshot.to_string()));
            }
            Kind::Finished { station, ending } => self.finish(station, Some(ending), y),
            Kind::Logged { number, .. } => {
                self.remark("logged", Lane::Leader, &format!("log {number}"), &line, y);
            }
        }
    }

    /// Everything that is still open ends where the chart does.
    fn close(&mut self, is_whole: bool) {
        let bottom = self.layout.bottom;
        for station in self.running.keys().copied().collect::<Vec<_>>() {
            self.finish(station, None, bottom);
        }
        for message in std::mem::take(&mut self.sent).into_values() {
            self.cut_short(message, message.y + 8.0, false);
        }
        for lane in self.layout.lanes() {
            self.thaw(*lane, bottom);
            let before = (if is_whole { Life::Unborn } else { Life::Up }, HEAD);
            let (life, since) = self.lives.get(lane).copied().unwrap_or(before);
            self.lifeline(*lane, life, since, bottom);
        }
    }

    fn date(&mut self, time: Time, y: f64) {
        let text = format!("{:.3}", time.0 as f64 / 1e6);
        if y - self.dated.1 < TIME_STEP || text == self.dated.0 {
            return;
        }
        self.dated = (text.clone(), y);
        self.paper.labels.text("time", [62.0, y + 3.0], &text);
    }

    /// What nobody in particular does.
    fn note(&mut self, text: &str, y: f64) {
        let short = fit(text, self.layout.width - 100.0);
        let labels = &mut self.paper.labels;
        labels.group("n", text, |labels| {
            labels.text("muted", [72.0, y + 3.0], &short)
        });
    }

    /// What happens to one lane: a mark, and a text on the side away from the leader.
    fn remark(&mut self, mark: &str, lane: Lane, text: &str, title: &str, y: f64) {
        let x = self.layout.x(lane);
        let is_left = self.layout.is_left(lane);
        let short = fit(text, self.layout.gap().min(MARGIN) - 24.0);
        self.paper.labels.group("n", title, |labels| {
            if mark != "none" {
                labels.dot(mark, [x, y]);
            }
            let (class, side) = if is_left {
                ("muted end", -1.0)
            } else {
                ("muted", 1.0)
            };
            labels.text(class, [x + side * 12.0, y + 3.0], &short);
        });
    }

    /// A line through all lanes.
    fn rule(&mut self, [line, pill]: [&str; 2], text: &str, y: f64) {
        let (text, right) = (fit(text, 126.0), self.layout.width - 24.0);
        self.paper.lanes.line(line, [70.0, y], [right, y]);
        let labels = &mut self.paper.labels;
        labels.group("n", &text, |labels| {
            let wide = CHARACTER * text.chars().count() as f64 + 12.0;
            labels.rectangle(pill, [70.0, y - 8.0], [wide, 16.0]);
            labels.text("pill", [76.0, y + 3.0], &text);
        });
    }

    fn deliver(&mut self, frame: u64, y: f64) {
        let Some(message) = self.sent.remove(&frame) else {
            return;
        };
        let (from, to) = self.ends(&message, y);
        let way = (to[0] - from[0]).abs();
        self.paper
            .arrows
            .group(group(message.class), &title(&message), |arrows| {
                arrows.line("a", from, to);
                arrows.head("h", from, to);
            });
        self.label(&message, from, way);
    }

    /// A message that does not arrive: it is lost at `y`, or still under way.
    fn cut_short(&mut self, message: Message<'_>, y: f64, is_lost: bool) {
        let (from, to) = self.ends(&message, y);
        let way = to[0] - from[0];
        let end = [from[0] + LOST_WAY * way, y];
        let class = if is_lost { "a" } else { "a open" };
        self.paper
            .arrows
            .group(group(message.class), &title(&message), |arrows| {
                arrows.line(class, from, end);
                if is_lost {
                    arrows.cross("x", end);
                }
            });
        self.label(&message, from, LOST_WAY * way.abs());
    }

    /// Where an arrow begins and ends: beside the boxes on its lanes.
    fn ends(&self, message: &Message<'_>, y: f64) -> ([f64; 2], [f64; 2]) {
        let (from, to) = (self.layout.x(message.from), self.layout.x(message.to));
        let side = BOX * (to - from).signum();
        ([from + side, message.y], [to - side, y])
    }

    fn label(&mut self, message: &Message<'_>, from: [f64; 2], way: f64) {
        let goes_right = self.layout.x(message.to) > from[0];
        let short = fit(message.text, way - 16.0);
        let (class, x) = match goes_right {
            true => ("", from[0] + 6.0),
            false => ("end", from[0] - 6.0),
        };
        let labels = &mut self.paper.labels;
        labels.group(group(message.class), &title(message), |labels| {
            labels.text(class, [x, from[1] - 2.5], &short);
        });
    }

    /// A transaction is over, or the chart is.
    fn finish(&mut self, station: usize, ending: Option<Ending>, y: f64) {
        let Some((since, snapshot)) = self.running.remove(&station) else {
            return;
        };
        let class = match ending {
            Some(Ending::Committed(_)) => "t good",
            Some(Ending::ReadOnly) => "t read",
            Some(Ending::Conflict(_) | Ending::LogFull | Ending::TooOld) => "t bad",
            Some(Ending::Lost | Ending::Unknown(_)) => "t gone",
            Some(Ending::Aborted) | None => "t plain",
        };
        let lane = Lane::Station(station);
        let outcome = ending.map_or("still running".to_owned(), |ending| ending.to_string());
        let title = format!("{lane}: a transaction at {snapshot}: {outcome}");
        let x = self.layout.x(lane);
        self.paper.boxes.group("n", &title, |boxes| {
            boxes.rectangle(class, [x - BOX, since], [2.0 * BOX, y - since]);
        });
        self.remark("none", lane, &format!("at {snapshot}"), &title, since);
        if ending.is_some() {
            self.remark("none", lane, &outcome, &title, y);
        }
    }

    /// Draws a bar to where the process goes on, or ends.
    fn thaw(&mut self, lane: Lane, y: f64) {
        let Some((since, until)) = self.frozen.remove(&lane) else {
            return;
        };
        let (x, end) = (self.layout.x(lane), self.layout.y(until).min(y));
        let title = format!("{lane} is frozen");
        self.paper.boxes.group("n", &title, |boxes| {
            boxes.rectangle("halt", [x - BAR, since], [2.0 * BAR, end - since]);
        });
        self.remark("none", lane, "frozen", &title, since);
    }

    /// The process of a lane starts or ends.
    fn live(&mut self, lane: Lane, is_up: bool, y: f64) {
        self.thaw(lane, y);
        // Of its first event in the chart, we learn what it was before.
        let before = (if is_up { Life::Unborn } else { Life::Up }, HEAD);
        let now = if is_up { Life::Up } else { Life::Down };
        let (was, since) = self.lives.insert(lane, (now, y)).unwrap_or(before);
        self.lifeline(lane, was, since, y);
        if let (false, Lane::Station(station)) = (is_up, lane) {
            self.finish(station, None, y);
        }
    }

    fn lifeline(&mut self, lane: Lane, life: Life, since: f64, until: f64) {
        let x = self.layout.x(lane);
        let class = match life {
            Life::Unborn => "lane unborn",
            Life::Up => "lane",
            Life::Down => "down",
        };
        self.paper.lanes.line(class, [x, since], [x, until]);
    }
}

fn group(class: Class) -> &'static str {
    match class {
        Class::Session => "m session",
        Class::Commit => "m commit",
        Class::Page => "m page",
        Class::Stream => "m stream",
        Class::Beat => "m beat",
    }
}

fn title(message: &Message<'_>) -> String {
    format!("{} to {}: {}", message.from, message.to, message.text)
}

fn plate(layout: &Layout, paper: &mut Paper, lane: Lane) {
    let (x, name) = (layout.x(lane), lane.to_string());
    let class = if lane == Lane::Leader {
        "plate leader"
    } else {
        "plate"
    };
    let labels = &mut paper.labels;
    labels.rectangle(class, [x - 44.0, HEAD - 30.0], [88.0, 24.0]);
    labels.text("name", [x, HEAD - 14.0], &name);
}
