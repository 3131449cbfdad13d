//! Page faults on a view of shared pages, served in the faulting thread without any message: against
//! a trap whose handler does nothing, which no fault can go below, and against the changes of access
//! alone.

use std::hint::{black_box, spin_loop};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result, ensure};
use plurix_memory::{Access, Faults, Mechanism, PageRun, TrapFloor, View, with_fault_stack};
use plurix_wire::{PAGE_BYTES, PageBytes, PageNumber};

use super::cells::whole;
use crate::figure::{Figure, Target};
use crate::machine::Pinned;
use crate::rounds::{Plan, nanoseconds_each};

/// Pages of a view: 2 MiB, which stay warm.
const PAGES: u32 = 512;
const ALL: PageRun = PageRun {
    first: PageNumber(0),
    count: PAGES,
};
/// Pages that are opened together, where that is measured.
const RUN: u32 = 16;
/// What pages are filled with.
const BYTES: PageBytes = [7; PAGE_BYTES];
/// Slices that are lent beside the one that is measured.
const LENT: u64 = 6;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let _pinned = Pinned::to(0)?;
    let mut figures = Vec::new();
    for mechanism in [Mechanism::Userfault, Mechanism::Protection] {
        match View::reserve(u64::from(PAGES) * PAGE_BYTES as u64, Some(mechanism)) {
            Ok(view) => figures.extend(with_fault_stack(|| measure(plan, view))??),
            Err(error) => eprintln!("not measured: {error:#}"),
        }
    }
    figures.push(lend(plan)?);
    Ok(figures)
}

/// One kind of fault.
struct Kind {
    name: &'static str,
    what: &'static str,
    /// The access before the fault.
    from: Access,
    /// Whether the fault is that of a store.
    store: bool,
    run: u32,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "read",
        what: "a load from an absent page, which is filled and opened",
        from: Access::None,
        store: false,
        run: 1,
    },
    Kind {
        name: "write",
        what: "a store to a page that was open to loads",
        from: Access::Read,
        store: true,
        run: 1,
    },
    Kind {
        name: "read-run",
        what: "the same load, for a run of 16 pages, a page",
        from: Access::None,
        store: false,
        run: RUN,
    },
    Kind {
        name: "write-run",
        what: "the same store, for a run of 16 pages, a page",
        from: Access::Read,
        store: true,
        run: RUN,
    },
];

fn measure(plan: &Plan, view: View) -> Result<Vec<Figure>> {
    let name = match view.mechanism() {
        Mechanism::Protection => "mprotect",
        _ => "userfault",
    };
    let bench = Bench::new(view)?;
    let mut figures = Vec::new();
    for kind in &KINDS {
        bench.round(plan, kind)?;
        let (mut faults, mut changes) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            let floor = traps(plan)?;
            faults.push((bench.round(plan, kind)?, floor));
            changes.push((bench.changes(plan, kind)?, floor));
        }
        let figure = |suffix: &str, what: String, rounds: &[(f64, f64)]| {
            let name = format!("fault-{}-{name}{suffix}", kind.name);
            let floor = "a trap on a closed page, and the return";
            Figure::against(name, what, "µs", floor, rounds, Target::None)
        };
        figures.push(figure("", format!("{}, {name}", kind.what), &faults));
        let what = format!(
            "the change of access alone, {} pages at a time, a page",
            kind.run
        );
        figures.push(figure("-change", what, &changes));
    }
    Ok(figures)
}

/// Microseconds of one trap.
fn traps(plan: &Plan) -> Result<f64> {
    let mut floor = TrapFloor::new()?;
    let count = plan.round_trips as u64;
    let nanoseconds = nanoseconds_each(count, || {
        (0..count).for_each(|_| floor.trap());
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(nanoseconds / 1e3)
}

/// A view, and the simplest protocol that can serve it.
struct Bench {
    state: Mutex<State>,
}

struct State {
    view: View,
    run: u32,
    asked: u64,
}

struct Behind(Weak<Bench>);

impl Faults for Behind {
    fn fault(&self, page: PageNumber, wants: Access) {
        let bench = self.0.upgrade().expect("measured as long as it lives");
        bench.with(|state| {
            let run = PageRun::new(PageNumber(page.0 / state.run * state.run), state.run);
            state.asked += 1;
            if state.view.access(page) == Access::None {
                run.pages()
                    .for_each(|page| state.view.fill(page, Some(&BYTES)));
            }
            state.view.set_access(run, wants).expect("granted before");
        });
    }
}

impl Bench {
    fn new(view: View) -> Result<Arc<Self>> {
        let state = State {
            view,
            run: 1,
            asked: 0,
        };
        let bench = Arc::new(Self {
            state: Mutex::new(state),
        });
        let behind = Arc::new(Behind(Arc::downgrade(&bench)));
        bench.with(|state| state.view.on_fault(behind))?;
        Ok(bench)
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Microseconds a page that faults of this kind take.
    fn round(&self, plan: &Plan, kind: &Kind) -> Result<f64> {
        let passes = (plan.round_trips as u64).div_ceil(u64::from(PAGES));
        let handle = self.with(|state| {
            (state.run, state.asked) = (kind.run, 0);
            state.view.handle()
        });
        let mut pages = handle.slice_mut::<u64>(0, whole(0).len() * PAGES as usize)?;
        let mut nanoseconds = 0.0;
        for _ in 0..passes {
            self.with(|state| state.view.set_access(ALL, kind.from))?;
            nanoseconds += nanoseconds_each(u64::from(PAGES), || {
                for word in pages.iter_mut().step_by(PAGE_BYTES / 8) {
                    if kind.store {
                        *word = black_box(1);
                    } else {
                        black_box(*word);
                    }
                    // Without a pause the processor runs ahead and remembers of pages to come that
                    // they are closed, each of which then traps once more. A program that has work
                    // to do in each page does not run that far ahead.
                    spin_loop();
                }
                Ok::<_, anyhow::Error>(())
            })?;
        }
        let asked = self.with(|state| state.asked);
        let expected = passes * u64::from(PAGES / kind.run);
        ensure!(asked == expected, "{asked} faults, and not {expected}");
        Ok(nanoseconds / passes as f64 / 1e3)
    }

    /// Microseconds a page that the same changes of access take, without a fault or a copy.
    fn changes(&self, plan: &Plan, kind: &Kind) -> Result<f64> {
        let passes = (plan.round_trips as u64).div_ceil(u64::from(PAGES));
        let to = if kind.store {
            Access::Write
        } else {
            Access::Read
        };
        self.with(|state| {
            let mut nanoseconds = 0.0;
            for _ in 0..passes {
                state.view.set_access(ALL, kind.from)?;
                nanoseconds += nanoseconds_each(u64::from(PAGES), || {
                    let mut firsts = (0..PAGES).step_by(kind.run as usize);
                    firsts.try_for_each(|first| {
                        let run = PageRun::new(PageNumber(first), kind.run);
                        state.view.set_access(run, to)
                    })
                })?;
            }
            Ok(nanoseconds / passes as f64 / 1e3)
        })
    }
}

/// To lend a slice and take it back, while a handful is lent.
fn lend(plan: &Plan) -> Result<Figure> {
    let view = View::reserve(u64::from(PAGES) * PAGE_BYTES as u64, None)?;
    let handle = view.handle();
    let lent = (1..=LENT).map(|part| handle.slice::<u64>(part << 16, 1 << 12));
    let _lent: Vec<_> = lent.collect::<Result<_, _>>()?;
    let lock = Mutex::new(());
    let count = plan.operations / 8;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let floor = nanoseconds_each(count, || {
            (0..count).for_each(|_| drop(black_box(lock.lock())));
            Ok::<_, anyhow::Error>(())
        })?;
        let value = nanoseconds_each(count, || {
            (0..count).try_for_each(|_| {
                let slice = handle.slice_mut::<u64>(black_box(0), 1 << 12)?;
                black_box(slice.len());
                Ok::<_, anyhow::Error>(())
            })
        });
        rounds.push((value.context("nobody has these bytes")?, floor));
    }
    Ok(Figure::against(
        "lend",
        format!("to lend a slice and take it back, beside {LENT} others"),
        "ns",
        "to lock and unlock a mutex",
        &rounds,
        Target::ValueAtMost(1_000.0),
    ))
}
