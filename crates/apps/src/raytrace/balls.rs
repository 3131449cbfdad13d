//! Generates "balls", the sphereflake of Eric Haines' Standard Procedural Databases (*A proposal
//! for standard graphics environments*, IEEE CG&A 1987): a sphere with nine smaller ones on it, each
//! with nine on it, and so on, above a square, with three lights.
//!
//! The original turns spheres by sines and cosines; here all directions are made by square roots, so
//! that the scene is the same to the last bit everywhere.

use super::builder::{Scene, SceneBuilder};
use super::scene::{Camera, Material};
use super::vector::{Vec3, vec3};

/// The largest size: 66,430 spheres.
pub const SIZE_MAX: u32 = 5;

/// The size asked for is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no sphereflake of size {0}; choose 0 to {SIZE_MAX}")]
pub struct SizeError(pub u32);

/// The sphereflake with `size` generations of spheres upon the first, 1 + 9 + … + 9^`size` in all.
/// The original's number of objects counts the square, too: 7,382 for size 4.
///
/// # Errors
/// [`SizeError`] if `size` exceeds [`SIZE_MAX`].
pub fn scene(size: u32) -> Result<Scene, SizeError> {
    if size > SIZE_MAX {
        return Err(SizeError(size));
    }
    let camera = Camera {
        from: vec3(2.1, 1.3, 1.7),
        at: vec3(0.0, 0.0, 0.0),
        up: UP,
        angle_degrees: 45.0,
        hither: 0.01,
        width: 512,
        height: 512,
    };
    let mut scene = SceneBuilder::new(camera, vec3(0.078, 0.361, 0.753));
    for position in [
        vec3(4.0, 3.0, 2.0),
        vec3(1.0, -4.0, 4.0),
        vec3(-3.0, 1.0, 5.0),
    ] {
        scene.light(position, Vec3::splat(1.0 / 3.0_f64.sqrt()));
    }
    scene.material(Material {
        colour: vec3(1.0, 0.75, 0.33),
        ..Material::default()
    });
    let corner = |x, y| vec3(x, y, -0.5);
    scene.polygon(&[
        corner(12.0, 12.0),
        corner(-12.0, 12.0),
        corner(-12.0, -12.0),
        corner(12.0, -12.0),
    ]);
    scene.material(Material {
        colour: vec3(1.0, 0.9, 0.7),
        diffuse: 0.5,
        highlight: 0.5,
        shine: 45.2776,
        reflection: 0.5,
        ..Material::default()
    });
    grow(
        &mut scene,
        &directions(),
        Ball {
            centre: vec3(0.0, 0.0, 0.0),
            radius: 0.5,
            top: UP,
        },
        size,
    );
    Ok(scene.build().expect("the sphereflake can be rendered"))
}

const UP: Vec3 = vec3(0.0, 0.0, 1.0);

/// A sphere, and the direction away from the one it sits on.
struct Ball {
    centre: Vec3,
    radius: f64,
    top: Vec3,
}

fn grow(scene: &mut SceneBuilder, directions: &[Vec3; 9], ball: Ball, generations: u32) {
    scene.sphere(ball.centre, ball.radius);
    if generations == 0 {
        return;
    }
    let radius = ball.radius * (1.0 / 3.0);
    for &direction in directions {
        let top = turn_up_to(ball.top, direction);
        let centre = ball.centre + top * (ball.radius + radius);
        grow(
            scene,
            directions,
            Ball {
                centre,
                radius,
                top,
            },
            generations - 1,
        );
    }
}

/// Where the children of an upright ball sit: six around its equator, three above.
fn directions() -> [Vec3; 9] {
    let (root_2, root_3, root_6) = (2.0_f64.sqrt(), 3.0_f64.sqrt(), 6.0_f64.sqrt());
    // Cosine and sine of 15 degrees.
    let (cosine, sine) = ((root_6 + root_2) * 0.25, (root_6 - root_2) * 0.25);
    let trio = [
        vec3(1.0 / root_6, 1.0 / root_6, 2.0 / root_6),
        vec3(cosine, sine, 0.0),
        vec3(sine, cosine, 0.0),
    ];
    let third = |v: Vec3| {
        let (cosine, sine) = (-0.5, root_3 * 0.5);
        vec3(v.x * cosine - v.y * sine, v.x * sine + v.y * cosine, v.z)
    };
    let (second, last) = (trio.map(third), trio.map(third).map(third));
    std::array::from_fn(|i| [trio, second, last][i / 3][i % 3])
}

/// `v` after the shortest rotation that takes [`UP`] to `top`; half a turn about the y axis if they
/// are opposite (Rodrigues' formula).
fn turn_up_to(top: Vec3, v: Vec3) -> Vec3 {
    let cosine = top.z;
    if cosine < -1.0 + 1e-9 {
        return vec3(-v.x, v.y, -v.z);
    }
    let axis = UP.cross(top);
    v * cosine + axis.cross(v) + axis * (axis.dot(v) / (1.0 + cosine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_the_spheres_of_the_original() {
        for (size, spheres) in [(0, 1), (1, 10), (2, 91), (3, 820), (4, 7381), (5, 66430)] {
            let scene = scene(size).unwrap();
            let parts = scene.parts();
            assert_eq!(
                (parts.spheres.len(), parts.triangles.len()),
                (spheres, 2),
                "{size}"
            );
            assert_eq!(parts.lights.len(), 3);
        }
        assert_eq!(scene(6).unwrap_err(), SizeError(6));
    }

    /// The first generation as the original prints it.
    #[test]
    fn the_first_generation_sits_where_the_original_puts_it() {
        let scene = scene(1).unwrap();
        for (x, y, z) in [
            (0.272166, 0.272166, 0.544331),
            (0.643951, 0.172546, 0.0),
            (0.172546, 0.643951, 0.0),
            (-0.371785, 0.0996195, 0.544331),
            (-0.471405, 0.471405, 0.0),
            (-0.643951, -0.172546, 0.0),
            (0.0996195, -0.371785, 0.544331),
            (-0.172546, -0.643951, 0.0),
            (0.471405, -0.471405, 0.0),
        ] {
            let expected = vec3(x, y, z);
            let spheres = scene.parts().spheres;
            let near = spheres
                .iter()
                .filter(|s| (s.centre - expected).magnitude() < 1e-5);
            assert_eq!(near.count(), 1, "{expected:?}");
        }
    }

    #[test]
    fn rotation_takes_up_to_the_top_and_keeps_lengths() {
        for top in directions().into_iter().chain([UP, -UP]) {
            assert!((turn_up_to(top, UP) - top).magnitude() < 1e-12);
            for v in directions() {
                assert!((turn_up_to(top, v).length() - 1.0).abs() < 1e-12);
                assert!((turn_up_to(top, v).dot(top) - v.dot(UP)).abs() < 1e-12);
            }
        }
    }
}
