//! Images whose pixels are known in closed form, and images that must be equal.

use super::super::scene::Camera;
use super::super::tile::{Canvas, tiles};
use super::super::vector::vec3;
use super::super::{Scene, SceneBuilder, balls};
use super::*;

/// A camera at (0, 0, 10) that looks at the origin with a 3×3 image; the centre of the middle pixel
/// is the origin.
fn camera() -> Camera {
    Camera {
        width: 3,
        height: 3,
        ..Camera::default()
    }
}

fn render(scene: &Scene, options: RenderOptions) -> Canvas {
    let Camera { width, height, .. } = *scene.camera();
    let mut canvas = Canvas::new(width, height);
    let tile = Tile {
        x: 0,
        y: 0,
        width,
        height,
    };
    canvas.put(tile, &render_tile(&scene.view(), tile, options).unwrap());
    canvas
}

fn middle_pixel(builder: SceneBuilder) -> Pixel {
    render(&builder.build().unwrap(), RenderOptions::default()).pixels()[4]
}

fn background() -> SceneBuilder {
    SceneBuilder::new(camera(), vec3(0.2, 0.4, 0.6))
}

const BACKGROUND: Pixel = [51, 102, 153];

#[test]
fn rays_that_meet_nothing_have_the_background() {
    let canvas = render(&background().build().unwrap(), RenderOptions::default());
    assert!(canvas.pixels().iter().all(|&pixel| pixel == BACKGROUND));
}

#[test]
fn diffuse_light_follows_the_cosine() {
    // Head on, from 60 degrees aside, and from behind.
    let aside = 3.0_f64.sqrt();
    for (position, expected) in [
        (vec3(0.0, 0.0, 5.0), 255),
        (vec3(aside, 0.0, 2.0), 128),
        (vec3(0.0, 0.0, -5.0), 0),
    ] {
        let mut builder = background();
        builder.sphere(vec3(0.0, 0.0, 0.0), 1.0);
        builder.light(position, vec3(1.0, 0.5, 0.0));
        let [red, green, blue] = middle_pixel(builder);
        assert_eq!((red, blue), (expected, 0), "{position:?}");
        assert!(green.abs_diff(expected / 2) <= 1);
    }
}

#[test]
fn opaque_spheres_cast_shadows_and_transparent_ones_dim() {
    for (transmission, expected) in [(None, 255), (Some(0.0), 0), (Some(0.25), 64)] {
        let mut builder = background();
        builder.plane(vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 1.0));
        builder.light(vec3(100.0, 0.0, 1e6), Vec3::splat(1.0));
        if let Some(transmission) = transmission {
            builder.material(Material {
                transmission,
                diffuse: 0.0,
                ..Material::default()
            });
            builder.sphere(vec3(50.0, 0.0, 5e5), 1.0);
        }
        assert_eq!(middle_pixel(builder), [expected; 3], "{transmission:?}");
    }
}

#[test]
fn a_mirror_shows_what_is_behind_the_camera() {
    let mut builder = background();
    builder.material(Material {
        diffuse: 0.0,
        reflection: 1.0,
        ..Material::default()
    });
    builder.plane(vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 1.0));
    builder.material(Material {
        colour: vec3(0.0, 1.0, 0.0),
        ambient: 1.0,
        diffuse: 0.0,
        ..Material::default()
    });
    builder.sphere(vec3(0.0, 0.0, 20.0), 1.0);
    assert_eq!(middle_pixel(builder), [0, 255, 0]);
}

#[test]
fn a_clear_sphere_without_refraction_is_invisible() {
    let mut builder = background();
    builder.material(Material {
        transmission: 1.0,
        diffuse: 0.0,
        ..Material::default()
    });
    for step in 0..3 {
        builder.sphere(vec3(0.0, 0.0, f64::from(step)), 0.7);
    }
    assert_eq!(middle_pixel(builder), BACKGROUND);
}

#[test]
fn refraction_follows_snell_up_to_the_critical_angle() {
    let normal = vec3(0.0, 1.0, 0.0);
    for degrees in [0.0, 10.0, 41.0, 42.0, 60.0, 89.0] {
        let angle: f64 = degrees * std::f64::consts::PI / 180.0;
        let (sine, cosine) = (libm::sin(angle), libm::cos(angle));
        let direction = vec3(sine, -cosine, 0.0);
        // Into glass, light always gets; out of it, not beyond asin(1 / 1.5) = 41.8 degrees.
        let inward = refract(direction, normal, 1.0 / 1.5).unwrap();
        assert!((inward.x - sine / 1.5).abs() < 1e-12);
        let outward = refract(direction, normal, 1.5);
        assert_eq!(outward.is_some(), degrees < 41.8, "{degrees}");
        if let Some(outward) = outward {
            assert!((outward.x - sine * 1.5).abs() < 1e-12);
        }
    }
}

/// From inside of glass, a ray that meets the surface beyond the critical angle is reflected whole:
/// it shows the glowing sphere, which lies inside, and nothing of the background.
#[test]
fn total_internal_reflection_loses_no_light() {
    let camera = Camera {
        from: vec3(-5.0, -5.0, 0.0),
        at: vec3(0.0, 0.0, 0.0),
        ..camera()
    };
    for (refraction_index, expected) in [(1.5, [255, 0, 0]), (1.0, BACKGROUND)] {
        let mut builder = SceneBuilder::new(camera, vec3(0.2, 0.4, 0.6));
        builder.material(Material {
            diffuse: 0.0,
            transmission: 1.0,
            refraction_index,
            ..Material::default()
        });
        builder.plane(vec3(0.0, 0.0, 0.0), vec3(0.0, 1.0, 0.0));
        let colour = vec3(1.0, 0.0, 0.0);
        builder.material(Material {
            colour,
            ambient: 1.0,
            diffuse: 0.0,
            ..Material::default()
        });
        builder.sphere(vec3(5.0, -5.0, 0.0), 1.0);
        assert_eq!(middle_pixel(builder), expected, "{refraction_index}");
    }
}

#[test]
fn tiles_in_any_order_make_the_image_byte_for_byte() {
    let mut scene = balls::scene(2).unwrap();
    scene
        .set_camera(Camera {
            width: 61,
            height: 47,
            ..*scene.camera()
        })
        .unwrap();
    for samples in [1, 2] {
        let options = RenderOptions {
            samples,
            ..RenderOptions::default()
        };
        let whole = render(&scene, options);
        let mut distinct: Vec<Pixel> = whole.pixels().to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 100, "the image shows something");
        for edge in [1, 16, 100] {
            let mut canvas = Canvas::new(61, 47);
            let mut all: Vec<Tile> = tiles(61, 47, edge).collect();
            all.reverse();
            for tile in all {
                canvas.put(tile, &render_tile(&scene.view(), tile, options).unwrap());
            }
            assert!(canvas == whole, "tiles of {edge} with {samples} samples");
        }
    }
}

#[test]
fn supersampling_averages_the_pixel() {
    let mut builder = SceneBuilder::new(
        Camera {
            width: 1,
            height: 1,
            ..camera()
        },
        Vec3::default(),
    );
    let glow = Material {
        ambient: 1.0,
        diffuse: 0.0,
        ..Material::default()
    };
    builder.material(glow);
    let corner = |x: f64, y: f64| vec3(x, y, 0.0);
    builder.polygon(&[
        corner(0.0, -9.0),
        corner(9.0, -9.0),
        corner(9.0, 9.0),
        corner(0.0, 9.0),
    ]);
    let scene = builder.build().unwrap();
    let options = RenderOptions {
        samples: 4,
        ..RenderOptions::default()
    };
    assert_eq!(render(&scene, options).pixels(), [[128; 3]]);
}

#[test]
fn options_and_tiles_out_of_range_are_no_panic() {
    let scene = background().build().unwrap();
    let view = scene.view();
    let tile = Tile {
        x: 2,
        y: 1,
        width: u32::MAX,
        height: u32::MAX,
    };
    let options = RenderOptions::default();
    assert_eq!(render_tile(&view, tile, options).unwrap().len(), 2);
    let outside = Tile {
        x: 9,
        y: 9,
        width: 5,
        height: 5,
    };
    assert!(render_tile(&view, outside, options).unwrap().is_empty());
    let samples = |samples| render_tile(&view, tile, RenderOptions { samples, ..options });
    assert_eq!(samples(0), Err(OptionsError::Samples(0)));
    assert_eq!(samples(1000), Err(OptionsError::Samples(1000)));
    let depth = RenderOptions {
        depth: 99,
        ..options
    };
    assert_eq!(
        render_tile(&view, tile, depth),
        Err(OptionsError::Depth(99))
    );
}

/// Mirrors between which a ray would bounce for ever, looked at from every odd direction.
#[test]
fn halls_of_mirrors_end_and_odd_cameras_see() {
    for (up, angle_degrees) in [
        (vec3(0.0, 0.0, 1.0), 45.0),
        (vec3(0.0, 0.0, -1.0), 179.999),
        (vec3(1e-200, 1.0, 0.0), 1e-9),
        (vec3(1e12, 0.0, 1.0), 1e-300),
    ] {
        let camera = Camera {
            up,
            angle_degrees,
            hither: 1.0,
            ..camera()
        };
        let mut builder = SceneBuilder::new(camera, vec3(0.2, 0.4, 0.6));
        builder.material(Material {
            reflection: 1.0,
            transmission: 1.0,
            refraction_index: 1.5,
            ..Material::default()
        });
        builder.plane(vec3(0.0, 0.0, -1.0), vec3(0.0, 0.0, 1.0));
        builder.plane(vec3(0.0, 0.0, 12.0), vec3(0.0, 0.0, 1.0));
        builder.sphere(vec3(0.0, 0.0, 0.0), 1e-12);
        builder.sphere(vec3(0.0, 1e12, 0.0), 1e12);
        let options = RenderOptions {
            depth: 10,
            ..RenderOptions::default()
        };
        assert_eq!(render(&builder.build().unwrap(), options).pixels().len(), 9);
    }
}
