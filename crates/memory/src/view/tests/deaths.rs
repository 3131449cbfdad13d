//! What ends a process, or uses up what it has, each in a process of its own: this test program,
//! run again for one test that is ignored otherwise.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use super::faults::{Station, stations};
use super::*;

const SCENE: &str = "PLURIX_VIEW_SCENE";

/// Plays `scene` in a process of its own.
fn play(scene: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args([
        "--exact",
        "view::tests::deaths::scene",
        "--ignored",
        "--nocapture",
    ]);
    command.env(SCENE, scene).stdout(Stdio::null());
    command.output().unwrap()
}

fn signal_of(scene: &str) -> Option<i32> {
    play(scene).status.signal()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[ignore = "the tests below run it, in a process of its own"]
fn scene() {
    match std::env::var(SCENE).as_deref() {
        Ok("foreign segment") => with_view(|| read_byte(16)),
        Ok("foreign bus") => with_view(read_behind_a_file),
        Ok("overflow") => with_view(|| assert!(recurse(1) > 0)),
        Ok("nobody to ask") => {
            let view = native_views(4096).remove(0);
            view.handle().slice::<u8>(0, 1).unwrap().to_vec();
        }
        Ok("panic") => panic_in_the_callback(),
        Ok("many views") => many_views(),
        Ok("many mappings") => many_mappings(),
        other => panic!("no scene {other:?}"),
    }
}

/// Runs `f` once faults are caught, and shown to be.
fn with_view(f: fn()) {
    let stations = stations(1);
    with_fault_stack(|| {
        for station in &stations {
            assert_eq!(station.handle().slice::<u8>(4096, 1).unwrap()[0], 1);
        }
        f();
    })
    .unwrap();
}

fn read_byte(address: usize) {
    // SAFETY: there is nothing; this is to end the process.
    unsafe { std::ptr::with_exposed_provenance::<u8>(address).read_volatile() };
}

fn read_behind_a_file() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(4096).unwrap();
    let mapped = crate::MappedFile::new(file.try_clone().unwrap(), 4096).unwrap();
    file.set_len(0).unwrap();
    let mut byte = [0];
    mapped.read(0, &mut byte);
    std::hint::black_box(byte);
}

#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn recurse(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 100]);
    recurse(here[3] + 1) + here[5]
}

struct Panics;

impl Faults for Panics {
    fn fault(&self, _page: PageNumber, _wants: Access) {
        panic!("on purpose");
    }
}

fn panic_in_the_callback() {
    let mut view = native_views(4096).remove(0);
    view.on_fault(Arc::new(Panics)).unwrap();
    let touch = || view.handle().slice::<u8>(0, 1).unwrap()[0];
    with_fault_stack(touch).unwrap();
}

fn many_views() {
    let new = || View::reserve(4096, None).unwrap();
    let served: Vec<_> = (0..64).map(|_| Station::new(new(), 1)).collect();
    let refused = new().on_fault(Arc::new(Panics));
    assert!(matches!(refused, Err(Error::TooManyViews { max: 64 })));
    drop(served);
    assert!(new().on_fault(Arc::new(Panics)).is_ok());
}

fn many_mappings() {
    let mut view = View::reserve(1 << 32, Some(Mechanism::Protection)).unwrap();
    let pages = (0..1 << 20).step_by(2).map(PageNumber);
    let refused = pages
        .map(|page| (page, view.set_access(page.into(), Access::Read)))
        .find(|(_, answer)| answer.is_err());
    let (page, answer) = refused.unwrap();
    assert!(matches!(answer, Err(Error::TooManyMappings { .. })));
    assert_eq!(view.access(page), Access::None);
    // One that needs no more of them.
    view.set_access(PageRun::new(PageNumber(0), page.0), Access::Read)
        .unwrap();
    view.set_access(page.into(), Access::Read).unwrap();
}

#[test]
fn faults_of_others_end_the_process_as_before() {
    assert_eq!(signal_of("foreign segment"), Some(libc::SIGSEGV));
    assert_eq!(signal_of("foreign bus"), Some(libc::SIGBUS));
}

#[test]
fn an_overflow_of_the_stack_says_so_as_before() {
    let output = play("overflow");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    assert!(said(&output).contains("overflowed its stack"));
}

#[test]
fn a_fault_that_nobody_answers_ends_the_process() {
    let signal = signal_of("nobody to ask");
    assert!([Some(libc::SIGBUS), Some(libc::SIGSEGV)].contains(&signal));
}

#[test]
fn a_panic_while_a_fault_is_answered_ends_the_process() {
    let output = play("panic");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    assert!(said(&output).contains("the handler of a page fault panicked"));
}

#[test]
fn more_views_than_are_served_are_refused() {
    let output = play("many views");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn more_mappings_than_the_kernel_keeps_are_refused() {
    let output = play("many mappings");
    assert!(output.status.success(), "{}", said(&output));
}
