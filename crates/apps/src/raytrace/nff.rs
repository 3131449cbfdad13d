//! Reads the Neutral File Format of Eric Haines' Standard Procedural Databases (*A proposal for
//! standard graphics environments*, IEEE CG&A 1987).
//!
//! All of the format's entities are read: viewpoint, background, lights, fill colours, cones and
//! cylinders (as triangles), spheres, polygons and patches. Polygons are seen from both sides. A
//! light without a colour gets the format's default, 1 / √(number of lights); a file without lights
//! gets one at the viewpoint.

use std::iter::Peekable;
use std::path::Path;

use super::LoadError;
use super::builder::{Scene, SceneBuilder};
use super::cone::Rim;
use super::polygon::CORNERS_MAX;
use super::scene::{COEFFICIENT_MAX, COORDINATE_MAX, Camera, Material};
use super::vector::{Vec3, vec3};
use super::view::{check_camera, material_rule};

/// Reads the file at `path`.
///
/// # Errors
/// [`LoadError`] naming the file, and the line if one is at fault.
pub fn load(path: &Path) -> Result<Scene, LoadError> {
    let file = path.display().to_string();
    match std::fs::read(path) {
        Ok(text) => parse(&file, &text),
        Err(source) => Err(LoadError::Read { file, source }),
    }
}

/// Reads `text`, which stands in what errors are to call `file`.
///
/// # Errors
/// [`LoadError`] naming the file, and the line if one is at fault.
pub fn parse(file: &str, text: &[u8]) -> Result<Scene, LoadError> {
    // Only comments may be other than ASCII, and those in old files are.
    let text = String::from_utf8_lossy(text);
    let words = text.lines().enumerate().flat_map(|(index, line)| {
        let content = line.split('#').next().unwrap_or_default();
        content
            .split_whitespace()
            .map(move |word| (index + 1, word))
    });
    Parser {
        file,
        words: words.peekable(),
        line: 1,
        scene: SceneBuilder::default(),
        has_viewpoint: false,
        lights: Vec::new(),
        patch_normals: Vec::new(),
        corners: Vec::new(),
    }
    .parse()
}

struct Parser<'a, I: Iterator<Item = (usize, &'a str)>> {
    file: &'a str,
    words: Peekable<I>,
    /// Line of the word read last.
    line: usize,
    scene: SceneBuilder,
    has_viewpoint: bool,
    /// Positions, and colours where given, until the default colour is known.
    lights: Vec<(Vec3, Option<Vec3>)>,
    corners: Vec<Vec3>,
    patch_normals: Vec<Vec3>,
}

impl<'a, I: Iterator<Item = (usize, &'a str)>> Parser<'a, I> {
    fn parse(mut self) -> Result<Scene, LoadError> {
        while let Some((line, word)) = self.words.next() {
            self.line = line;
            match word {
                "v" => self.viewpoint()?,
                "b" => {
                    let background = self.colour()?;
                    self.scene.set_background(background);
                }
                "l" => self.light()?,
                "f" => self.fill()?,
                "c" => self.cone()?,
                "s" => self.sphere()?,
                "p" => self.polygon(false)?,
                "pp" => self.polygon(true)?,
                _ => return Err(self.syntax("one of v, b, l, f, c, s, p, pp", Some(word))),
            }
        }
        if !self.has_viewpoint {
            return Err(self.syntax("a viewpoint (v)", None));
        }
        let strength = 1.0 / (self.lights.len() as f64).sqrt();
        for (position, colour) in self.lights {
            self.scene
                .light(position, colour.unwrap_or(Vec3::splat(strength)));
        }
        self.scene.light_if_dark();
        let file = self.file.to_owned();
        self.scene
            .build()
            .map_err(|source| LoadError::Scene { file, source })
    }

    fn viewpoint(&mut self) -> Result<(), LoadError> {
        let line = self.line;
        self.keyword("from")?;
        let from = self.point()?;
        self.keyword("at")?;
        let at = self.point()?;
        self.keyword("up")?;
        let up = self.point()?;
        self.keyword("angle")?;
        let angle_degrees = self.number("the angle of view in degrees")?;
        self.keyword("hither")?;
        let hither = self.number("the hither distance")?;
        self.keyword("resolution")?;
        let width = self.count("the width in pixels")?;
        let height = self.count("the height in pixels")?;
        let camera = Camera {
            from,
            at,
            up,
            angle_degrees,
            hither,
            width,
            height,
        };
        check_camera(&camera).map_err(|source| {
            let file = self.file.to_owned();
            LoadError::Viewpoint { file, line, source }
        })?;
        self.scene.set_camera(camera);
        self.has_viewpoint = true;
        Ok(())
    }

    fn light(&mut self) -> Result<(), LoadError> {
        let position = self.point()?;
        // The colour is optional, and told from the next entity by standing on the same line.
        let has_colour = self
            .words
            .peek()
            .is_some_and(|&(next, _)| next == self.line);
        let colour = if has_colour {
            Some(self.colour()?)
        } else {
            None
        };
        self.lights.push((position, colour));
        Ok(())
    }

    fn fill(&mut self) -> Result<(), LoadError> {
        let line = self.line;
        let colour = self.colour()?;
        let diffuse = self.number("the diffuse coefficient")?;
        let specular = self.number("the specular coefficient")?;
        let shine = self.number("the Phong exponent")?;
        let transmission = self.number("the transmittance")?;
        let refraction_index = self.number("the index of refraction")?;
        let material = Material {
            colour,
            ambient: 0.0,
            diffuse,
            highlight: specular,
            shine,
            reflection: specular,
            transmission,
            refraction_index,
        };
        if let Some(rule) = material_rule(&material) {
            return self.ensure(line, "fill", false, rule);
        }
        self.scene.material(material);
        Ok(())
    }

    fn cone(&mut self) -> Result<(), LoadError> {
        let line = self.line;
        let mut rim = || {
            let centre = self.point()?;
            // A negative radius asks for the inside, which is seen anyway.
            Ok(Rim {
                centre,
                radius: self.number("a radius")?.abs(),
            })
        };
        let (base, apex) = (rim()?, rim()?);
        let exists = self.scene.cone(base, apex);
        self.ensure(
            line,
            "cone",
            exists,
            "base and apex must differ, and one radius be above 0",
        )
    }

    fn sphere(&mut self) -> Result<(), LoadError> {
        let line = self.line;
        let centre = self.point()?;
        // A negative radius asks for the inside, which is seen anyway.
        let radius = self.number("a radius")?.abs();
        self.ensure(line, "sphere", radius > 0.0, "the radius must not be 0")?;
        self.scene.sphere(centre, radius);
        Ok(())
    }

    fn polygon(&mut self, has_normals: bool) -> Result<(), LoadError> {
        let line = self.line;
        let count = self.count("the number of corners")? as usize;
        let in_range = (3..=CORNERS_MAX).contains(&count);
        self.ensure(line, "polygon", in_range, "it must have 3 to 4096 corners")?;
        self.corners.clear();
        self.patch_normals.clear();
        for _ in 0..count {
            let corner = self.point()?;
            self.corners.push(corner);
            if has_normals {
                let normal = self.point()?;
                self.patch_normals.push(normal);
            }
        }
        if has_normals {
            self.scene.patch(&self.corners, &self.patch_normals);
        } else {
            self.scene.polygon(&self.corners);
        }
        Ok(())
    }

    fn point(&mut self) -> Result<Vec3, LoadError> {
        let x = self.number("an x coordinate")?;
        let y = self.number("a y coordinate")?;
        Ok(vec3(x, y, self.number("a z coordinate")?))
    }

    fn colour(&mut self) -> Result<Vec3, LoadError> {
        let red = self.number("a red component")?;
        let green = self.number("a green component")?;
        let colour = vec3(red, green, self.number("a blue component")?);
        let in_range = colour.all(|component| (0.0..=COEFFICIENT_MAX).contains(&component));
        self.ensure(
            self.line,
            "colour",
            in_range,
            "its components must be 0 to 1e6",
        )?;
        Ok(colour)
    }

    fn number(&mut self, expected: &'static str) -> Result<f64, LoadError> {
        let word = self.word(expected)?;
        match word.parse::<f64>() {
            Ok(number) if number.abs() <= COORDINATE_MAX => Ok(number),
            Ok(_) => Err(self.syntax("a number of magnitude at most 1e12", Some(word))),
            Err(_) => Err(self.syntax(expected, Some(word))),
        }
    }

    fn count(&mut self, expected: &'static str) -> Result<u32, LoadError> {
        let word = self.word(expected)?;
        word.parse().map_err(|_| self.syntax(expected, Some(word)))
    }

    fn keyword(&mut self, keyword: &'static str) -> Result<(), LoadError> {
        let word = self.word(keyword)?;
        if word == keyword {
            Ok(())
        } else {
            Err(self.syntax(keyword, Some(word)))
        }
    }

    fn word(&mut self, expected: &'static str) -> Result<&'a str, LoadError> {
        let (line, word) = self
            .words
            .next()
            .ok_or_else(|| self.syntax(expected, None))?;
        self.line = line;
        Ok(word)
    }

    fn ensure(
        &self,
        line: usize,
        item: &'static str,
        holds: bool,
        rule: &'static str,
    ) -> Result<(), LoadError> {
        if holds {
            return Ok(());
        }
        Err(LoadError::Meaning {
            file: self.file.to_owned(),
            line,
            item,
            rule,
        })
    }

    fn syntax(&self, expected: &'static str, found: Option<&str>) -> LoadError {
        let found = match found {
            // A file that is no text at all may hold very long words.
            Some(word) => format!("'{}'", word.chars().take(40).collect::<String>()),
            None => "the end of the file".to_owned(),
        };
        LoadError::Syntax {
            file: self.file.to_owned(),
            line: self.line,
            expected,
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIEW: &str = "v\nfrom 0 0 9\nat 0 0 0\nup 0 1 0\nangle 40\nhither 1\nresolution 8 6\n";

    fn parse_str(text: &str) -> Result<Scene, LoadError> {
        parse("a.nff", text.as_bytes())
    }

    #[test]
    fn every_entity_is_read() {
        let scene = parse_str(&format!(
            "# comment\n{VIEW}b 0.1 0.2 0.3\nl 1 2 3\nl 4 5 6 0.5 0.6 0.7\n\
             f 1 0.5 0.25 0.8 0.1 20 0.3 1.5 # trailing comment\n\
             s 0 0 0 2\np 4\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n\
             pp 3\n0 0 0 0 0 1\n1 0 0 0 0 1\n0 1 0 0 0 1\n\
             f 0 0 1 1 0 0 0 0\nc\n0 0 0 1\n0 0 1 0\ns 1 1 1 -3\n"
        ))
        .unwrap();
        let parts = scene.parts();
        assert_eq!((scene.camera().width, scene.camera().height), (8, 6));
        assert_eq!(parts.header.background, vec3(0.1, 0.2, 0.3));
        let default = Vec3::splat(1.0 / 2.0_f64.sqrt());
        let intensities: Vec<Vec3> = parts.lights.iter().map(|light| light.intensity).collect();
        assert_eq!(intensities, [default, vec3(0.5, 0.6, 0.7)]);
        let mut spheres: Vec<_> = parts
            .spheres
            .iter()
            .map(|s| (s.radius, s.material))
            .collect();
        spheres.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert_eq!(spheres, [(2.0, 0), (3.0, 1)]);
        assert_eq!(parts.triangles.len(), 2 + 1 + 64);
        let glass = parts.materials[0];
        assert_eq!(
            (glass.diffuse, glass.shine, glass.refraction_index),
            (0.8, 20.0, 1.5)
        );
        assert_eq!(
            (glass.highlight, glass.reflection, glass.transmission),
            (0.1, 0.1, 0.3)
        );
    }

    #[test]
    fn a_file_without_lights_or_materials_still_shows_something() {
        let scene = parse_str(&format!("{VIEW}s 0 0 0 1")).unwrap();
        assert_eq!(scene.parts().lights[0].position, vec3(0.0, 0.0, 9.0));
        assert_eq!(scene.parts().materials, [Material::default()]);
    }

    #[test]
    fn broken_syntax_is_named_with_its_line_and_what_was_expected() {
        for (text, at, what, instead) in [
            ("", 1, "a viewpoint (v)", "the end of the file"),
            ("\n\nx", 3, "one of v, b, l, f, c, s, p, pp", "'x'"),
            ("v\nfrom 1 2", 2, "a z coordinate", "the end of the file"),
            ("v from 1 2 3\nto 1 2 3", 2, "at", "'to'"),
            ("b 1 2 # 3", 1, "a blue component", "the end of the file"),
            ("s 0 0\n\n0 one", 3, "a radius", "'one'"),
            (
                "s 0 0 0 NaN",
                1,
                "a number of magnitude at most 1e12",
                "'NaN'",
            ),
            (
                "s 0 0 1e13 1",
                1,
                "a number of magnitude at most 1e12",
                "'1e13'",
            ),
            ("p -3", 1, "the number of corners", "'-3'"),
            ("p 99999999999", 1, "the number of corners", "'99999999999'"),
            (
                "pp 3\n0 0 0 0 0 1\n1 0 0",
                3,
                "an x coordinate",
                "the end of the file",
            ),
        ] {
            match parse_str(text) {
                Err(LoadError::Syntax {
                    file,
                    line,
                    expected,
                    found,
                }) => {
                    assert_eq!(file, "a.nff");
                    assert_eq!((line, expected, &*found), (at, what, instead), "{text:?}");
                }
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn impossible_things_are_named_with_their_line() {
        for (text, at, what) in [
            ("\ns 0 0 0 0", 2, "sphere"),
            ("c\n0 0 0 1\n0 0 0 1", 1, "cone"),
            ("p 2\n0 0 0\n1 1 1", 1, "polygon"),
            ("p 4000000000\n0 0 0", 1, "polygon"),
            ("f 1 1 1 1 1 1 0.5 0", 1, "fill"),
            ("f 1 1 1 -1 0 0 0 0", 1, "fill"),
            ("b 0 -1 0", 1, "colour"),
        ] {
            match parse_str(text) {
                Err(LoadError::Meaning { line, item, .. }) => {
                    assert_eq!((line, item), (at, what), "{text:?}");
                }
                other => panic!("{text:?} gave {other:?}"),
            }
        }
        for (from, to) in [
            ("from 0 0 9", "from 0 0 0"),
            ("up 0 1 0", "up 0 0 0"),
            ("angle 40", "angle 180"),
            ("angle 40", "angle 0"),
            ("hither 1", "hither -1"),
            ("resolution 8 6", "resolution 0 6"),
            ("resolution 8 6", "resolution 8 4000000000"),
        ] {
            let answer = parse_str(&VIEW.replace(from, to));
            assert!(
                matches!(answer, Err(LoadError::Viewpoint { line: 1, .. })),
                "{to}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(Path::new("/nonexistent/scene.nff")).unwrap_err();
        assert!(matches!(error, LoadError::Read { file, .. } if file.ends_with("scene.nff")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse("a.nff", &bytes);
        }

        #[test]
        fn no_words_make_it_panic(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "v", "from", "at", "up", "angle", "hither", "resolution", "b", "l", "f", "c",
                    "s", "p", "pp", "0", "1", "-1", "3", "0.5", "1e12", "1e-300", "#", "\n",
                ]),
                0..200,
            ),
        ) {
            let _ = parse_str(&format!("{VIEW}{}", words.join(" ")));
        }
    }
}
