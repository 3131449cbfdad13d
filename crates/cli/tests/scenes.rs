//! Scene files that are missing or malformed: what `plurix run raytrace` makes of them.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use common::{assert_fails, file, output};

const VIEW: &str = "v\nfrom 0 0 9\nat 0 0 0\nup 0 1 0\nangle 40\nhither 1\nresolution 8 6\n";

/// Renders a file with this name and text, which must fail with an error that names the file, the
/// line if there is one, and `what`.
#[track_caller]
fn refuses(name: &str, text: &str, line: Option<u32>, what: &str) {
    let dir = tempfile::tempdir().unwrap();
    let scene = file(dir.path(), name, text.as_bytes());
    let at = line.map_or(String::new(), |line| format!(":{line}: "));
    let place = format!("{}{at}", scene.display());
    let picture = dir.path().join("picture.png");
    let (scene, out) = (scene.display(), picture.display());
    let refused = output(&format!("run raytrace --scene {scene} --out {out}"));
    assert_fails(&refused, 1, &[&place, what]);
    assert!(!picture.exists());
}

#[test]
fn a_malformed_nff_file_is_named_with_its_line() {
    refuses("a.nff", "v\nfrom 0 0 9\nat 0 0 zero\n", Some(3), "'zero'");
    refuses(
        "a.nff",
        &format!("{VIEW}s 0 0\n"),
        Some(8),
        "end of the file",
    );
    refuses(
        "a.nff",
        &format!("{VIEW}p 99999999\n0 0 0\n"),
        Some(8),
        "polygon",
    );
    refuses("a.nff", &VIEW.replace("8 6", "0 6"), Some(1), "0x6");
    refuses("a.nff", "\u{1}\u{2}ELF\0\0", Some(1), "one of v, b");
    refuses("a.nff", "", Some(1), "viewpoint");
}

#[test]
fn a_malformed_obj_file_is_named_with_its_line() {
    let vertices = "# a comment\nv 0 0 0\nv 1 0 0\nv 0 1 0\n";
    refuses("a.obj", &format!("{vertices}\nf 1 2 9\n"), Some(6), "9");
    refuses("a.obj", &format!("{vertices}f 1 2 -4\n"), Some(5), "-4");
    refuses(
        "a.obj",
        &format!("{vertices}f 1 2 three\n"),
        Some(5),
        "three",
    );
    refuses("a.obj", &format!("{vertices}f 1 2 0\n"), Some(5), "0");
    refuses(
        "a.obj",
        &format!("{vertices}f 1//7 2//7 3//7\n"),
        Some(5),
        "7",
    );
    refuses(
        "a.obj",
        "v 0 0 0\nv 1 x 0\nv 0 1 0\nf 1 2 3\n",
        Some(2),
        "x",
    );
    refuses(
        "a.obj",
        "v 0 0 0\nv 1 0\nf 1 2 2\n",
        Some(2),
        "end of the line",
    );
    refuses("a.obj", "v 1 2 3\n", None, "no faces");
}

#[test]
fn a_missing_or_unknown_scene_is_named() {
    for name in ["/nonexistent/a.nff", "/nonexistent/a.obj"] {
        let missing = output(&format!("run raytrace --out picture.png --scene {name}"));
        assert_fails(&missing, 1, &[name, "No such file"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("a.obj");
    std::fs::create_dir(&directory).unwrap();
    let directory = directory.display().to_string();
    let refused = output(&format!(
        "run raytrace --out picture.png --scene {directory}"
    ));
    assert_fails(&refused, 1, &[&directory, "directory"]);
    refuses("a.txt", "", None, ".nff or .obj");
}

#[test]
fn a_picture_that_cannot_be_written_is_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("missing/picture.png");
    let heap = dir.path().join("heap");
    let (out, line) = (out.display(), heap.display());
    let refused = output(&format!("run raytrace --size 1 --dir {line} --out {out}"));
    assert_fails(&refused, 1, &["missing/picture.png", "No such file"]);
    assert!(!heap.exists(), "work was begun");
}
