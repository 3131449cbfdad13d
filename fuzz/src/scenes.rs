//! Scene files: a text gives a scene that can be rendered, or an error that names a line of it.

use std::path::Path;

use plurix_apps::raytrace::scene::Camera;
use plurix_apps::raytrace::{LoadError, RenderOptions, Scene, Tile, nff, obj, render_tile};

/// Pixels on each side of the picture that is taken of every scene.
const SIDE: u32 = 3;
/// Divides an OBJ text from the library of materials that it names.
const DIVIDER: u8 = 0;

pub(crate) fn check_nff(bytes: &[u8]) {
    judge(nff::parse("a.nff", bytes), bytes);
}

pub(crate) fn check_obj(bytes: &[u8]) {
    let mut texts = bytes.splitn(2, |byte| *byte == DIVIDER);
    let (text, library) = (texts.next().unwrap_or_default(), texts.next());
    let open = |_: &Path| match library {
        Some(library) => Ok(library.to_vec()),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    judge(obj::parse(Path::new("a.obj"), text, open), bytes);
}

fn judge(parsed: Result<Scene, LoadError>, bytes: &[u8]) {
    match parsed {
        Ok(scene) => render(scene),
        Err(error) => {
            let newlines = bytes.iter().filter(|byte| **byte == b'\n').count();
            let line = match error {
                LoadError::Syntax { line, .. }
                | LoadError::Meaning { line, .. }
                | LoadError::Viewpoint { line, .. } => line,
                _ => 1,
            };
            assert!(
                (1..=newlines + 1).contains(&line),
                "line {line} of {} is at fault: {error}",
                newlines + 1
            );
        }
    }
}

/// A scene that was accepted can be rendered, whatever it shows.
fn render(mut scene: Scene) {
    let small = Camera {
        width: SIDE,
        height: SIDE,
        ..*scene.camera()
    };
    scene
        .set_camera(small)
        .expect("a smaller picture is no worse");
    let tile = Tile {
        x: 0,
        y: 0,
        width: SIDE,
        height: SIDE,
    };
    let pixels = render_tile(&scene.view(), tile, RenderOptions::default());
    let pixels = pixels.expect("the default options are in range");
    assert_eq!(pixels.len(), tile.pixels());
}

pub(crate) fn nff_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let view = "v\nfrom 0 0 9\nat 0 0 0\nup 0 1 0\nangle 40\nhither 1\nresolution 8 6\n";
    let all = format!(
        "# all\n{view}b 0.1 0.2 0.3\nl 1 2 3\nl 4 5 6 0.5 0.6 0.7\nf 1 0.5 0.25 0.8 0.1 20 0.3 1.5\n\
         s 0 0 0 2\np 4\n0 0 0\n1 0 0\n1 1 0\n0 1 0\npp 3\n0 0 0 0 0 1\n1 0 0 0 0 1\n0 1 0 0 0 1\n\
         c\n0 0 0 1\n0 0 1 0\ns 1 1 1 -3\n"
    );
    vec![
        ("all", all.into_bytes()),
        ("sphere", format!("{view}s 0 0 0 1").into_bytes()),
    ]
}

pub(crate) fn obj_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let square = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n";
    let plain = format!("{square}vn 0 0 1\nf 1//1 2//1 3//1 4//1\nf -4 -3 -2\n");
    let library = "newmtl a\nKd 1 0 0\nKs 0.3 0.3 0.3\nNs 30\nillum 3\nd 0.25\nNi 1.5\n";
    let coloured = format!("mtllib a.mtl\n{square}usemtl a\nf 1 2 3\n\0{library}");
    vec![
        ("plain", plain.into_bytes()),
        ("coloured", coloured.into_bytes()),
    ]
}
