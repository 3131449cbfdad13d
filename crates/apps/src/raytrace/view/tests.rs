//! Scenes that break each rule, and damaged bytes: refused, or rendered without harm.

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::super::vector::vec3;
use super::super::{RenderOptions, Scene, SceneBuilder, Tile, balls, render_tile};
use super::*;

fn item_at_fault(builder: SceneBuilder) -> &'static str {
    match builder.build() {
        Err(SceneError::Value { item, .. }) => item,
        other => panic!("gave {other:?}"),
    }
}

#[test]
fn each_impossible_value_is_refused() {
    let nan = f64::NAN;
    let empty = SceneBuilder::default;
    let with = |add: &dyn Fn(&mut SceneBuilder)| {
        let mut builder = empty();
        add(&mut builder);
        item_at_fault(builder)
    };
    let origin = Vec3::default();
    for radius in [0.0, -1.0, nan, f64::INFINITY, 1e13] {
        assert_eq!(with(&|b| b.sphere(origin, radius)), "sphere");
    }
    assert_eq!(with(&|b| b.sphere(vec3(0.0, nan, 0.0), 1.0)), "sphere");
    assert_eq!(with(&|b| b.plane(origin, origin)), "plane");
    assert_eq!(
        with(&|b| b.plane(vec3(nan, 0.0, 0.0), vec3(0.0, 1.0, 0.0))),
        "plane"
    );
    assert_eq!(with(&|b| b.light(origin, Vec3::splat(-1.0))), "light");
    assert_eq!(with(&|b| b.light(Vec3::splat(nan), origin)), "light");
    assert_eq!(with(&|b| b.set_background(Vec3::splat(nan))), "background");
    let opaque = Material::default();
    for material in [
        Material {
            shine: nan,
            ..opaque
        },
        Material {
            reflection: -0.1,
            ..opaque
        },
        Material {
            transmission: 0.5,
            refraction_index: 0.0,
            ..opaque
        },
        Material {
            colour: Vec3::splat(1e9),
            ..opaque
        },
    ] {
        assert_eq!(with(&|b| b.material(material)), "material");
    }
    let camera = Camera::default();
    for camera in [
        Camera {
            at: camera.from,
            ..camera
        },
        Camera {
            from: Vec3::splat(nan),
            ..camera
        },
        Camera {
            up: origin,
            ..camera
        },
        Camera {
            angle_degrees: 0.0,
            ..camera
        },
        Camera {
            angle_degrees: 180.0,
            ..camera
        },
        Camera {
            hither: nan,
            ..camera
        },
    ] {
        assert_eq!(with(&|b| b.set_camera(camera)), "camera");
    }
}

#[test]
fn empty_and_absurd_images_are_refused() {
    for (width, height) in [
        (0, 1),
        (1, 0),
        (u32::MAX, u32::MAX),
        (SIDE_MAX + 1, 1),
        (32768, 32768),
    ] {
        let mut builder = SceneBuilder::default();
        builder.set_camera(Camera {
            width,
            height,
            ..Camera::default()
        });
        assert_eq!(
            builder.build().unwrap_err(),
            SceneError::Resolution { width, height }
        );
    }
}

#[test]
fn degenerate_triangles_are_left_out() {
    let mut builder = SceneBuilder::default();
    builder.polygon(&[Vec3::splat(1.0); 3]);
    builder.patch(&[Vec3::splat(1.0), Vec3::splat(2.0), Vec3::splat(3.0)], &[]);
    assert!(builder.build().unwrap().parts().triangles.is_empty());
}

fn sample() -> Scene {
    balls::scene(2).unwrap()
}

#[test]
fn counts_must_be_those_of_the_header() {
    let scene = sample();
    let parts = SceneParts {
        spheres: &scene.parts().spheres[1..],
        ..scene.parts()
    };
    let expected = SceneError::Count {
        items: "spheres",
        announced: 91,
        count: 90,
    };
    assert_eq!(SceneView::check(parts).unwrap_err(), expected);
}

/// A chain of boxes, each in the one before, to the left or to the right.
fn chain(length: usize, leans_left: bool) -> Vec<Node> {
    let total = 2 * length + 1;
    let node = |right: usize| Node {
        min: Vec3::splat(-1.0),
        max: Vec3::splat(1.0),
        right: right as u32,
        first_sphere: 0,
        first_triangle: 0,
        spheres: 0,
        triangles: 0,
    };
    let mut nodes: Vec<Node> = (0..total)
        .map(|i| match (leans_left, i < length) {
            (true, true) => node(total - 1 - i),
            (false, _) if i + 1 < total && i % 2 == 0 => node(i + 2),
            _ => node(0),
        })
        .collect();
    nodes[total - 1].right = 0;
    nodes
}

#[test]
fn only_a_tree_in_preorder_is_a_tree() {
    let scene = SceneBuilder::default().build().unwrap();
    let check = |nodes: &[Node]| {
        let header = SceneHeader {
            nodes: nodes.len() as u32,
            ..*scene.parts().header
        };
        SceneView::check(SceneParts {
            header: &header,
            nodes,
            ..scene.parts()
        })
        .map(drop)
    };
    for leans_left in [true, false] {
        assert_eq!(check(&chain(TREE_DEPTH_MAX, leans_left)), Ok(()));
        let too_deep = check(&chain(TREE_DEPTH_MAX + 1, leans_left));
        assert!(matches!(
            too_deep,
            Err(SceneError::Tree {
                node: _,
                rule: "the tree is too deep"
            })
        ));
    }
    let tree = chain(3, true);
    for (index, right) in [(0, 1), (0, 0), (1, 6), (2, u32::MAX), (3, 1), (6, 3)] {
        let mut broken = tree.clone();
        broken[index].right = right;
        assert!(check(&broken).is_err(), "{index} to {right}");
    }
    assert!(check(&tree[..6]).is_err());
    let mut empty_promise = tree.clone();
    empty_promise[6].spheres = 1;
    assert!(check(&empty_promise).is_err());
}

proptest! {
    /// Whatever a byte is overwritten with, the scene is refused or rendered; neither takes long.
    #[test]
    fn damaged_bytes_do_no_harm(slice in 0usize..4, at: prop::sample::Index, value: u8) {
        let scene = sample();
        let parts = scene.parts();
        let mut header = *parts.header;
        let (mut spheres, mut triangles) = (parts.spheres.to_vec(), parts.triangles.to_vec());
        let mut nodes = parts.nodes.to_vec();
        header.camera.width = 12;
        header.camera.height = 12;
        let bytes = match slice {
            0 => header.as_mut_bytes(),
            1 => spheres.as_mut_bytes(),
            2 => triangles.as_mut_bytes(),
            _ => nodes.as_mut_bytes(),
        };
        let at = at.index(bytes.len());
        bytes[at] = value;
        let damaged = SceneParts {
            header: &header,
            spheres: &spheres,
            triangles: &triangles,
            nodes: &nodes,
            ..parts
        };
        if let Ok(view) = SceneView::check(damaged) {
            let tile = Tile { x: 0, y: 0, width: 12, height: 12 };
            let pixels = render_tile(&view, tile, RenderOptions::default()).unwrap();
            prop_assert!(pixels.len() <= tile.pixels());
        }
    }
}
