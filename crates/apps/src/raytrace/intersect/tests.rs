//! Closed forms for single primitives, and the tree against asking every primitive.

use proptest::prelude::*;

use super::super::SceneBuilder;
use super::super::scene::{Camera, Material};
use super::*;

fn ray(origin: [f64; 3], direction: [f64; 3]) -> Ray {
    let [point, direction] = [origin, direction].map(|[x, y, z]| vec3(x, y, z));
    Ray::new(point, direction.unit().unwrap())
}

#[test]
fn a_ray_meets_a_sphere_where_the_closed_form_says() {
    let sphere = Sphere {
        centre: vec3(0.0, 0.0, 0.0),
        radius: 2.0,
        material: 0,
        reserved: [0; 3],
    };
    let axis = [0.0, 0.0, 1.0];
    for (origin, direction, expected) in [
        ([0.0, 0.0, -10.0], axis, Some(8.0)),
        ([1.0, 0.0, -10.0], axis, Some(10.0 - 3.0_f64.sqrt())),
        ([0.0, 0.0, 0.0], axis, Some(2.0)),
        ([0.0, 0.0, 10.0], axis, None),
        ([2.1, 0.0, -10.0], axis, None),
        (
            [-6.0, -6.0, -6.0],
            [1.0, 1.0, 1.0],
            Some(6.0 * 3.0_f64.sqrt() - 2.0),
        ),
    ] {
        let met = meet_sphere(&sphere, &ray(origin, direction));
        assert_eq!(met.is_some(), expected.is_some(), "{origin:?}");
        assert!(
            (met.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-12,
            "{origin:?}"
        );
    }
}

fn triangle(corners: [[f64; 3]; 3]) -> Triangle {
    let corners = corners.map(|[x, y, z]| vec3(x, y, z));
    Triangle {
        corners,
        normals: [vec3(0.0, 0.0, 1.0); 3],
        material: 0,
        reserved: [0; 3],
    }
}

#[test]
fn a_ray_meets_a_triangle_from_both_sides_and_within_its_edges() {
    let triangle = triangle([[0.0, 0.0, 5.0], [4.0, 0.0, 5.0], [0.0, 4.0, 5.0]]);
    for (origin, direction, expected) in [
        ([1.0, 2.0, 0.0], [0.0, 0.0, 1.0], Some((5.0, 0.25, 0.5))),
        ([1.0, 2.0, 7.0], [0.0, 0.0, -1.0], Some((2.0, 0.25, 0.5))),
        ([1.0, 2.0, 7.0], [0.0, 0.0, 1.0], None),
        ([3.0, 3.0, 0.0], [0.0, 0.0, 1.0], None),
        ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], None),
    ] {
        assert_eq!(
            meet_triangle(&triangle, &ray(origin, direction)),
            expected,
            "{origin:?}"
        );
    }
}

#[test]
fn degenerate_triangles_are_never_met() {
    for corners in [
        [[1.0, 0.0, 5.0]; 3],
        [[-1.0, 0.0, 5.0], [0.0, 0.0, 5.0], [1.0, 0.0, 5.0]],
        [[0.0, 0.0, 5.0], [1e-300, 0.0, 5.0], [0.0, 1e-300, 5.0]],
    ] {
        assert_eq!(
            meet_triangle(&triangle(corners), &ray([0.0; 3], [0.0, 0.0, 1.0])),
            None
        );
    }
}

#[test]
fn a_ray_meets_a_plane_before_it_only() {
    let normal = vec3(0.0, 1.0, 0.0);
    let plane = Plane {
        normal,
        offset: -2.0,
        material: 0,
        reserved: [0; 3],
    };
    let met = |direction| meet_plane(&plane, &ray([0.0, 1.0, 0.0], direction));
    assert_eq!(met([0.0, -1.0, 0.0]), Some(3.0));
    assert_eq!(met([0.0, 1.0, 0.0]), None);
    assert_eq!(met([1.0, 0.0, 0.0]), None);
}

#[test]
fn light_is_stopped_by_opaque_and_dimmed_by_transparent_surfaces() {
    let mut builder = SceneBuilder::new(Camera::default(), Vec3::default());
    builder.material(Material {
        transmission: 0.5,
        ..Material::default()
    });
    builder.sphere(vec3(0.0, 0.0, 5.0), 1.0);
    builder.plane(vec3(0.0, 0.0, 8.0), vec3(0.0, 0.0, 1.0));
    builder.material(Material::default());
    builder.sphere(vec3(0.0, 0.0, 11.0), 1.0);
    let scene = builder.build().unwrap();
    let ray = ray([0.0; 3], [0.0, 0.0, 1.0]);
    for (limit, expected) in [(3.0, 1.0), (6.5, 0.5), (9.0, 0.25), (20.0, 0.0)] {
        assert_eq!(
            transmittance(&scene.view(), &ray, limit),
            expected,
            "{limit}"
        );
    }
}

fn point() -> impl Strategy<Value = [f64; 3]> {
    [-10.0..10.0, -10.0..10.0, -10.0..10.0f64]
}

/// Directions with a good share of zeros, where slabs go wrong first.
fn direction() -> impl Strategy<Value = [f64; 3]> {
    let coordinate =
        || prop_oneof![2 => -1.0..1.0, 1 => Just(0.0), 1 => Just(-0.0), 1 => Just(1.0)];
    [coordinate(), coordinate(), coordinate()].prop_filter("no direction", |d| *d != [0.0; 3])
}

proptest! {
    #[test]
    fn the_tree_finds_what_asking_every_primitive_finds(
        spheres in prop::collection::vec((point(), 0.01..2.0), 0..60),
        triangles in prop::collection::vec([point(), point(), point()], 0..60),
        rays in prop::collection::vec((point(), direction()), 20),
    ) {
        let mut builder = SceneBuilder::new(Camera::default(), Vec3::default());
        for ([x, y, z], radius) in spheres {
            builder.sphere(vec3(x, y, z), radius);
        }
        for corners in triangles {
            builder.polygon(&corners.map(|[x, y, z]| vec3(x, y, z)));
        }
        let scene = builder.build().unwrap();
        let view = scene.view();
        for (origin, direction) in rays {
            let ray = ray(origin, direction);
            let spheres = scene.parts().spheres.iter().filter_map(|s| meet_sphere(s, &ray));
            let triangles = scene.parts().triangles.iter().filter_map(|t| meet_triangle(t, &ray));
            let expected = spheres.chain(triangles.map(|met| met.0)).min_by(f64::total_cmp);
            prop_assert_eq!(nearest(&view, &ray).map(|hit| hit.t), expected);
            let limit = 5.0;
            let shadow = if expected.is_some_and(|t| t < limit) { 0.0 } else { 1.0 };
            prop_assert_eq!(transmittance(&view, &ray, limit), shadow);
        }
    }
}
