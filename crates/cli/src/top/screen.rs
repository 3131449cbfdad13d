//! Stations and teams on a terminal, until a key ends it.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line as Shown, Span};
use ratatui::widgets::Paragraph;
use ratatui::{DefaultTerminal, Frame};

use super::heap::{HeapView, Sort};
use super::lines::{Line, LineKind};
use super::model::Overview;
use super::watch::{Event, Look};
use super::{Options, View};
use crate::Exit;
use crate::units::show_duration;

/// Keys are looked for at least so often, and what was seen is shown with as little delay.
const TICK: Duration = Duration::from_millis(50);
/// Looks whose commits a second are drawn.
const DRAWN: usize = 40;

/// What is on the screen.
#[derive(Debug)]
struct Screen {
    address: String,
    every: Duration,
    view: View,
    sort: Sort,
    is_reversed: bool,
    before: Option<Box<Look>>,
    /// `None` until something was seen.
    seen: Option<(HeapView, Overview)>,
    lines: Option<Vec<Line>>,
    /// Commits a second at the last looks, the newest last.
    commits: VecDeque<f64>,
    /// How many lines are above the screen.
    above: usize,
}

/// How the screen was left.
#[derive(Debug)]
pub(super) enum Left {
    By(Exit),
    /// By what the watch has come to.
    With(Event),
}

/// Puts the terminal back, whatever happens; a panic does so itself before it is printed.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows what is seen until a key or an event ends it.
///
/// # Errors
/// Those of the terminal.
pub(super) fn show(
    address: String,
    options: &Options,
    events: &Receiver<Event>,
) -> io::Result<Left> {
    let terminal = ratatui::try_init();
    let _restore = Restore;
    let screen = Screen::new(address, options.every, options.view);
    screen.run(&mut terminal?, events)
}

impl Screen {
    fn new(address: String, every: Duration, view: View) -> Self {
        Self {
            address,
            every,
            view,
            sort: Sort::default(),
            is_reversed: false,
            before: None,
            seen: None,
            lines: None,
            commits: VecDeque::new(),
            above: 0,
        }
    }

    fn run(mut self, terminal: &mut DefaultTerminal, events: &Receiver<Event>) -> io::Result<Left> {
        loop {
            terminal.draw(|frame| self.draw(frame))?;
            if event::poll(TICK)?
                && let Input::Key(key) = event::read()?
                && let Some(exit) = self.press(key)
            {
                return Ok(Left::By(exit));
            }
            match events.try_recv() {
                Ok(Event::Seen(seen)) => self.see(seen),
                Ok(Event::Stop) => return Ok(Left::By(Exit::Interrupted)),
                Ok(event) => return Ok(Left::With(event)),
                Err(TryRecvError::Empty) => {}
                // The watch has failed; what it printed says why.
                Err(TryRecvError::Disconnected) => return Ok(Left::By(Exit::Failed)),
            }
        }
    }

    fn see(&mut self, seen: Box<Look>) {
        let before = self.before.as_deref();
        let teams = before.map_or(&[][..], |look| &look.teams);
        let teams = Overview::new(teams, &seen.teams);
        let heap = HeapView::new(before.map(|look| &look.status), &seen.status);
        if before.is_some() {
            self.commits.push_back(heap.heap.recent.commits);
        }
        if self.commits.len() > DRAWN {
            self.commits.pop_front();
        }
        self.seen = Some((heap, teams));
        self.before = Some(seen);
        self.arrange();
    }

    /// Makes lines of what was seen.
    fn arrange(&mut self) {
        let Some((heap, teams)) = &mut self.seen else {
            return;
        };
        heap.sort(self.sort);
        if self.is_reversed {
            heap.stations.reverse();
        }
        self.lines = Some(self.view.lines(heap, teams, self.commits.make_contiguous()));
    }

    /// Does what a key asks for; answers whether that is the end.
    fn press(&mut self, key: KeyEvent) -> Option<Exit> {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        let below = self.lines.as_ref().map_or(0, Vec::len).saturating_sub(1);
        match key.code {
            KeyCode::Char('c') if is_control => return Some(Exit::Interrupted),
            KeyCode::Char('q') | KeyCode::Esc => return Some(Exit::Done),
            KeyCode::Up | KeyCode::Char('k') => self.above = self.above.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.above = (self.above + 1).min(below),
            KeyCode::Home => self.above = 0,
            KeyCode::Char('v') | KeyCode::Tab => {
                (self.view, self.above) = (self.view.next(), 0);
            }
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            _ => {}
        }
        self.arrange();
        None
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [top, rest] =
            Layout::vertical([Constraint::Length(2), Constraint::Min(0)]).areas(frame.area());
        let about = format!(
            "{}, every {}; q quits, v view, s sort ({}), r reverse",
            self.address,
            show_duration(self.every),
            self.sort.name()
        );
        let title = Shown::from_iter([Span::from("plurix top  ").bold(), Span::from(about)]);
        frame.render_widget(title, top);
        let shown: Vec<Shown<'_>> = match &self.lines {
            None => vec![Shown::from("looking …")],
            Some(lines) => lines.iter().skip(self.above).map(styled).collect(),
        };
        frame.render_widget(Paragraph::new(shown), rest);
    }
}

fn styled(line: &Line) -> Shown<'_> {
    let style = match line.kind {
        LineKind::Team => Style::new().bold().cyan(),
        LineKind::Head => Style::new().add_modifier(Modifier::DIM),
        LineKind::Missing => Style::new().red(),
        LineKind::Fine | LineKind::Plain => Style::new(),
    };
    Shown::styled(line.text.as_str(), style)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::heap::tests::status;
    use super::super::model::tests::looks;
    use super::*;

    fn screen() -> Screen {
        Screen::new(
            "node-1:7700".to_owned(),
            Duration::from_secs(1),
            View::Teams,
        )
    }

    /// Two looks at a team, and at a heap with two stations.
    fn seen() -> [Box<Look>; 2] {
        let [before, now] = looks();
        let look = |status, teams| Box::new(Look { status, teams });
        [
            look(status(10, [0, 40], 0), before),
            look(status(12, [20, 50], 0), now),
        ]
    }

    /// The rows of a terminal of 100 by 8.
    fn rows(screen: &Screen) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(100, 8)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |cells: &[ratatui::buffer::Cell]| {
            let text: String = cells.iter().map(|cell| cell.symbol()).collect();
            text.trim_end().to_owned()
        };
        buffer.content().chunks(100).map(row).collect()
    }

    #[test]
    fn a_team_is_drawn_below_where_it_was_seen() {
        let mut screen = screen();
        assert!(rows(&screen)[2].contains("looking"));
        for seen in seen() {
            screen.see(seen);
        }
        assert_eq!(
            rows(&screen),
            [
                "plurix top  node-1:7700, every 1.00 s; q quits, v view, s sort (number), r reverse",
                "",
                "jacobi: runs; stations 2, workers 4; 12.00 s; imbalance 25 %",
                "rank  state  phase  waits  phases/s  faults/s  fetches/s  pages/s  changes/s  notices/s  bytes/s",
                "   0  works    140    0 %        20       300          0        0          0          0  1.2 MiB",
                "   1  works    140   50 %        20         0          0        0          0          0      0 B",
                " all           140   25 %        20       300          0        0          0          0  1.2 MiB",
                "",
            ]
        );
    }

    #[test]
    fn lines_that_have_no_room_are_reached_by_keys() {
        let mut screen = screen();
        seen().into_iter().for_each(|seen| screen.see(seen));
        let press = |screen: &mut Screen, code: KeyCode| screen.press(KeyEvent::from(code));
        for _ in 0..2 {
            assert_eq!(press(&mut screen, KeyCode::Down), None);
        }
        assert!(rows(&screen)[2].starts_with("   0  works"));
        for _ in 0..100 {
            assert_eq!(press(&mut screen, KeyCode::Char('j')), None);
        }
        assert!(rows(&screen)[2].starts_with(" all"), "the last line stays");
        assert_eq!(press(&mut screen, KeyCode::Home), None);
        assert!(rows(&screen)[2].starts_with("jacobi"));
    }

    #[test]
    fn keys_choose_what_is_shown_and_in_which_order() {
        let mut screen = screen();
        seen().into_iter().for_each(|seen| screen.see(seen));
        let press = |screen: &mut Screen, key| screen.press(KeyEvent::from(KeyCode::Char(key)));
        for _ in 0..2 {
            assert_eq!(press(&mut screen, 'v'), None);
        }
        let first = |screen: &Screen| {
            let row = rows(screen)[6].trim_start().to_owned();
            row.split_whitespace().next().unwrap().to_owned()
        };
        assert!(rows(&screen)[2].starts_with("heap: 2 stations"));
        assert_eq!(first(&screen), "1");
        press(&mut screen, 'r');
        assert_eq!(first(&screen), "2");
        press(&mut screen, 's');
        press(&mut screen, 'r');
        assert_eq!(first(&screen), "1", "it made more commits");
        assert_eq!(screen.commits, [15.0]);
    }

    #[test]
    fn keys_end_it() {
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for (key, exit) in [
            (KeyEvent::from(KeyCode::Char('q')), Some(Exit::Done)),
            (KeyEvent::from(KeyCode::Esc), Some(Exit::Done)),
            (control_c, Some(Exit::Interrupted)),
            (KeyEvent::from(KeyCode::Char('c')), None),
        ] {
            assert_eq!(screen().press(key), exit, "{key:?}");
        }
    }
}
