//! Reads Wavefront OBJ files with their materials (MTL). The format knows neither camera nor light:
//! the camera is fitted to the bounding box and carries the light.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use tobj::{LoadOptions, Mesh, Model};

use super::LoadError;
use super::builder::{Scene, SceneBuilder};
use super::obj_check::{check_mtl, check_obj};
use super::polygon::CORNERS_MAX;
use super::scene::{COORDINATE_MAX, Camera, Material};
use super::vector::{Vec3, vec3};
use super::view::SceneError;

/// Materials, and where each name's is.
type Library = (Vec<tobj::Material>, HashMap<String, usize>);

const BACKGROUND: Vec3 = vec3(0.75, 0.8, 0.85);

/// Reads the file at `path`. Surfaces without material, and all surfaces if the library of materials
/// does not exist, are light grey.
///
/// # Errors
/// [`LoadError`] naming the file, and the line if one is at fault.
pub fn load(path: &Path) -> Result<Scene, LoadError> {
    let text = std::fs::read(path).map_err(|source| unreadable(path, source))?;
    parse(path, &text, |library| std::fs::read(library))
}

/// Reads `text`, which errors are to call `path`, as [`load`] does; `open` reads the libraries of
/// materials that it names, which lie beside it.
///
/// # Errors
/// [`LoadError`] naming the file, and the line if one is at fault.
pub fn parse(
    path: &Path,
    text: &[u8],
    open: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Scene, LoadError> {
    let file = path.display().to_string();
    // Only names and comments may be other than ASCII, and those in old files are.
    let text = String::from_utf8_lossy(text);
    check_obj(&file, &text)?;
    let options = LoadOptions {
        single_index: true,
        ignore_points: true,
        ignore_lines: true,
        ..LoadOptions::default()
    };
    let wavefront = |source| LoadError::Wavefront {
        file: file.clone(),
        source,
    };
    // The reader passes on no errors but its own.
    let fault = RefCell::new(None);
    let library = |name: &Path| {
        load_library(&path.with_file_name(name), &open).map_err(|error| {
            fault.replace(Some(error));
            tobj::LoadError::GenericFailure
        })
    };
    let read = tobj::load_obj_buf(&mut text.as_bytes(), &options, library);
    if let Some(error) = fault.take() {
        return Err(error);
    }
    let (models, materials) = read.map_err(wavefront)?;
    let materials = materials.map_err(wavefront)?;
    // The reader skips what it does not know, so a file of another kind shows only by this.
    if models.iter().all(|model| model.mesh.indices.is_empty()) {
        return Err(LoadError::NoFaces { file });
    }
    assemble(&models, &materials).map_err(|source| LoadError::Scene { file, source })
}

/// Reads a library of materials; one that does not exist is empty.
fn load_library(
    path: &Path,
    open: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Library, LoadError> {
    let text = match open(path) {
        Err(source) if source.kind() == ErrorKind::NotFound => Vec::new(),
        text => text.map_err(|source| unreadable(path, source))?,
    };
    let (file, text) = (path.display().to_string(), String::from_utf8_lossy(&text));
    check_mtl(&file, &text)?;
    tobj::load_mtl_buf(&mut text.as_bytes()).map_err(|source| LoadError::Wavefront { file, source })
}

fn unreadable(path: &Path, source: io::Error) -> LoadError {
    let file = path.display().to_string();
    LoadError::Read { file, source }
}

fn assemble(models: &[Model], materials: &[tobj::Material]) -> Result<Scene, SceneError> {
    let mut scene = SceneBuilder::new(Camera::default(), BACKGROUND);
    for (index, model) in models.iter().enumerate() {
        let material = model.mesh.material_id.and_then(|id| materials.get(id));
        scene.material(material.map_or_else(default_material, convert));
        add_faces(&mut scene, &model.mesh).map_err(|rule| SceneError::Value {
            item: "object",
            index,
            rule,
        })?;
    }
    if let Some(bounds) = scene.bounds() {
        scene.set_camera(fit_camera(bounds));
    }
    scene.light_if_dark();
    scene.build()
}

fn add_faces(scene: &mut SceneBuilder, mesh: &Mesh) -> Result<(), &'static str> {
    let positions = points(&mesh.positions);
    if !positions
        .iter()
        .all(|p| p.magnitude() <= COORDINATE_MAX && p.all(f64::is_finite))
    {
        return Err("coordinates must be at most 1e12");
    }
    // The reader adds a normal only where a face names one; they fit only if all faces do.
    let normals = points(&mesh.normals);
    let is_smooth = normals.len() == positions.len();
    let (mut corners, mut corner_normals) = (Vec::new(), Vec::new());
    let mut rest = &mesh.indices[..];
    let mut arities = mesh.face_arities.iter();
    while !rest.is_empty() {
        // A mesh of triangles alone has no arities.
        let arity = arities.next().map_or(3, |&arity| arity as usize);
        if arity > CORNERS_MAX {
            return Err("a face must have at most 4096 corners");
        }
        let (face, others) = rest
            .split_at_checked(arity.max(1))
            .ok_or("a face is cut off")?;
        rest = others;
        corners.clear();
        corner_normals.clear();
        for &index in face {
            corners.push(
                *positions
                    .get(index as usize)
                    .ok_or("a face names no vertex")?,
            );
            corner_normals.extend(is_smooth.then(|| normals[index as usize]));
        }
        if is_smooth {
            scene.patch(&corners, &corner_normals);
        } else {
            scene.polygon(&corners);
        }
    }
    Ok(())
}

fn points(coordinates: &[f32]) -> Vec<Vec3> {
    coordinates
        .chunks_exact(3)
        .map(|point| {
            vec3(
                f64::from(point[0]),
                f64::from(point[1]),
                f64::from(point[2]),
            )
        })
        .collect()
}

/// Light grey, slightly lit from everywhere.
fn default_material() -> Material {
    Material {
        colour: Vec3::splat(0.8),
        ambient: 0.1,
        diffuse: 0.9,
        ..Material::default()
    }
}

/// What the shading model can say of an MTL material. Only illumination models from 3 on reflect.
fn convert(material: &tobj::Material) -> Material {
    let colour = |c: [f32; 3]| vec3(f64::from(c[0]), f64::from(c[1]), f64::from(c[2]));
    let specular = material.specular.map_or(0.0, |specular| {
        let specular = colour(specular);
        (specular.x + specular.y + specular.z) * (1.0 / 3.0)
    });
    let mirrors = material.illumination_model.is_some_and(|model| model >= 3);
    let transmission = 1.0 - f64::from(material.dissolve.unwrap_or(1.0));
    Material {
        colour: material.diffuse.map_or(Vec3::splat(0.8), colour),
        highlight: specular,
        shine: f64::from(material.shininess.unwrap_or(10.0)),
        reflection: if mirrors { specular } else { 0.0 },
        transmission,
        refraction_index: f64::from(material.optical_density.unwrap_or(1.0)),
        ..default_material()
    }
}

/// A camera above and beside the front of the box that sees all of it.
fn fit_camera((min, max): (Vec3, Vec3)) -> Camera {
    let centre = (min + max) * 0.5;
    let radius = ((max - min).length() * 0.5).max(1e-9);
    let camera = Camera {
        at: centre,
        angle_degrees: 40.0,
        ..Camera::default()
    };
    let half_angle = camera.angle_degrees * 0.5 * (std::f64::consts::PI / 180.0);
    let direction = vec3(0.5, 0.4, 1.0).unit().unwrap_or(vec3(0.0, 0.0, 1.0));
    Camera {
        from: centre + direction * (radius / libm::sin(half_angle)),
        ..camera
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CUBE: &str = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 1 1 1\n\
        v 0 1 1\nusemtl red\nf 1 4 3 2\nf 5 6 7 8\nusemtl glass\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\n\
        f 4 1 5 8\n";
    const LIBRARY: &str = "newmtl red\nKd 1 0 0\nKs 0.2 0.2 0.2\nNs 30\nillum 2\n\
        newmtl glass\nKd 0 0 1\nKs 0.3 0.3 0.3\nd 0.25\nNi 1.5\nillum 4\n";

    fn load_text(obj: &str, mtl: Option<&str>) -> Result<Scene, LoadError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.obj");
        fs::write(&path, obj).unwrap();
        if let Some(mtl) = mtl {
            fs::write(directory.path().join("a.mtl"), mtl).unwrap();
        }
        load(&path)
    }

    #[test]
    fn faces_and_materials_are_read() {
        let scene = load_text(CUBE, Some(LIBRARY)).unwrap();
        let parts = scene.parts();
        assert_eq!(parts.triangles.len(), 12);
        let colours: Vec<Vec3> = parts.materials.iter().map(|m| m.colour).collect();
        assert_eq!(colours, [vec3(1.0, 0.0, 0.0), vec3(0.0, 0.0, 1.0)]);
        let [red, glass] = [parts.materials[0], parts.materials[1]];
        assert_eq!(
            (red.shine, red.reflection, red.transmission),
            (30.0, 0.0, 0.0)
        );
        assert!((glass.reflection - 0.3).abs() < 1e-6);
        assert_eq!((glass.transmission, glass.refraction_index), (0.75, 1.5));
    }

    #[test]
    fn the_camera_sees_the_whole_box_and_carries_a_light() {
        let scene = load_text(CUBE, None).unwrap();
        let camera = scene.camera();
        assert_eq!(camera.at, Vec3::splat(0.5));
        assert_eq!(scene.parts().lights[0].position, camera.from);
        let distance = (camera.from - camera.at).length();
        assert!(distance > 3.0_f64.sqrt() && distance < 5.0);
    }

    #[test]
    fn a_concave_face_is_not_filled() {
        let scene = load_text("v 0 0 0\nv 2 1 0\nv 0 2 0\nv 1 1 0\nf 1 2 3 4\n", None).unwrap();
        let area = scene.parts().triangles.iter().map(|triangle| {
            let [a, b, c] = triangle.corners;
            (b - a).cross(c - a).length() * 0.5
        });
        assert!((area.sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, at, what) in [
            ("f 1 2 3\n", 1, "'1' of 0"),
            ("# two\nv 1 2\n", 2, "the end of the line"),
            ("v 0 0 0\nf 1 1 9\n", 2, "'9' of 1"),
            ("v 0 0 0\n\nf 1 1 0\n", 3, "'0' of 1"),
            ("v 0 0 0\nf -1 -1 -2\nv 1 1 1\n", 2, "'-2' of 2"),
            ("v 0 0 x\n", 1, "'x'"),
            ("v 0 0 0\nf 1 1 /1\n", 2, "'' of 1"),
            ("v 0 0 0\nf 1/1/1/1 1 1\n", 2, "'1' of 0"),
            (
                "v 0 0 0\nvn 0 0 1\nf 1//1 1//1 1//9223372036854775807\n",
                3,
                "'9223372036854775807' of 1",
            ),
        ] {
            match load_text(text, None) {
                Err(LoadError::Syntax {
                    file, line, found, ..
                }) => {
                    assert!(file.ends_with("a.obj"));
                    assert_eq!((line, &*found), (at, what), "{text:?}");
                }
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn bad_lines_of_a_library_are_named() {
        for (library, at) in [
            ("newmtl red\nKd 1 0\n", 2),
            ("Ks\n", 1),
            ("newmtl a\n\nd opaque\n", 3),
        ] {
            match load_text(CUBE, Some(library)) {
                Err(LoadError::Syntax { file, line, .. }) => {
                    assert!(file.ends_with("a.mtl"));
                    assert_eq!(line, at, "{library:?}");
                }
                other => panic!("{library:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn bad_values_and_missing_files_are_named() {
        for text in [
            "v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
            "v 1e30 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        ] {
            match load_text(text, None) {
                Err(LoadError::Scene { file, .. }) => assert!(file.ends_with("a.obj")),
                other => panic!("{text:?} gave {other:?}"),
            }
        }
        let error = load(Path::new("/nonexistent/a.obj")).unwrap_err();
        assert!(matches!(error, LoadError::Read { .. }));
        assert!(load_text(CUBE, None).is_ok(), "a library may be missing");
    }

    #[test]
    fn a_file_without_faces_is_taken_for_one_of_another_kind() {
        for text in [
            "",
            "# nothing\n",
            "v 1 2 3\n",
            "v 0 0 0\nv 1 0 0\nl 1 2\n",
            "\u{1}\n",
        ] {
            let answer = load_text(text, None);
            assert!(matches!(answer, Err(LoadError::NoFaces { .. })), "{text:?}");
        }
    }
}
