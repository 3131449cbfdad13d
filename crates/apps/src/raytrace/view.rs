//! Slices that were checked to make a scene, so that rendering can trust every index, every number
//! and the shape of the tree, wherever the bytes came from.

use super::scene::{
    COEFFICIENT_MAX, COORDINATE_MAX, Camera, ITEMS_MAX, Light, Material, Node, PIXELS_MAX, Plane,
    SIDE_MAX, SceneHeader, Sphere, TREE_DEPTH_MAX, Triangle,
};
use super::vector::Vec3;

/// Why a scene cannot be rendered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SceneError {
    /// The image is empty or too large.
    #[error(
        "an image of {width}x{height} pixels: each side must be 1 to {SIDE_MAX}, and there may be \
         {PIXELS_MAX} pixels in all; choose another resolution"
    )]
    Resolution {
        /// Width asked for, in pixels.
        width: u32,
        /// Height asked for, in pixels.
        height: u32,
    },
    /// A number or reference is outside of what can be rendered.
    #[error("{item} {index}: {rule}")]
    Value {
        /// The kind of thing at fault.
        item: &'static str,
        /// Which of its kind, from 0.
        index: usize,
        /// The rule that is broken.
        rule: &'static str,
    },
    /// There are more things of a kind than a scene can hold.
    #[error("{count} {items} are too many; at most {ITEMS_MAX} can be rendered")]
    TooMany {
        /// The kind of thing.
        items: &'static str,
        /// How many there are.
        count: usize,
    },
    /// A slice is longer or shorter than the header says.
    #[error("the header announces {announced} {items}, the slice holds {count}")]
    Count {
        /// The kind of thing.
        items: &'static str,
        /// The header's number.
        announced: u32,
        /// The slice's number.
        count: usize,
    },
    /// The bounding-volume hierarchy is none.
    #[error("node {node}: {rule}; build the scene again")]
    Tree {
        /// Index of the node at fault.
        node: usize,
        /// The rule that is broken.
        rule: &'static str,
    },
}

/// The slices of a scene, wherever they live.
#[derive(Debug, Clone, Copy)]
pub struct SceneParts<'a> {
    /// Camera, background and the lengths of the slices.
    pub header: &'a SceneHeader,
    /// What surfaces are made of.
    pub materials: &'a [Material],
    /// Spheres, in order of the tree's leaves.
    pub spheres: &'a [Sphere],
    /// Triangles, in order of the tree's leaves.
    pub triangles: &'a [Triangle],
    /// Planes; not in the tree, because they are unbounded.
    pub planes: &'a [Plane],
    /// Point lights.
    pub lights: &'a [Light],
    /// The bounding-volume hierarchy, in preorder.
    pub nodes: &'a [Node],
}

/// A scene that can be rendered without further checks.
#[derive(Debug, Clone, Copy)]
pub struct SceneView<'a>(SceneParts<'a>);

impl<'a> SceneView<'a> {
    /// Checks that `parts` make a scene, in time linear in their size.
    ///
    /// # Errors
    /// [`SceneError`] naming the first rule that is broken.
    pub fn check(parts: SceneParts<'a>) -> Result<Self, SceneError> {
        let header = parts.header;
        for (items, announced, count) in [
            ("materials", header.materials, parts.materials.len()),
            ("spheres", header.spheres, parts.spheres.len()),
            ("triangles", header.triangles, parts.triangles.len()),
            ("planes", header.planes, parts.planes.len()),
            ("lights", header.lights, parts.lights.len()),
            ("nodes", header.nodes, parts.nodes.len()),
        ] {
            if announced as usize != count {
                return Err(SceneError::Count {
                    items,
                    announced,
                    count,
                });
            }
        }
        check_values(&parts)?;
        check_tree(&parts)?;
        Ok(Self(parts))
    }

    /// The slices.
    #[must_use]
    pub fn parts(&self) -> &SceneParts<'a> {
        &self.0
    }

    /// The camera.
    #[must_use]
    pub fn camera(&self) -> &'a Camera {
        &self.0.header.camera
    }
}

/// Checks everything but the tree and the header's counts, which are made from checked values.
pub(super) fn check_values(parts: &SceneParts<'_>) -> Result<(), SceneError> {
    for (items, count) in [
        ("materials", parts.materials.len()),
        ("spheres", parts.spheres.len()),
        ("triangles", parts.triangles.len()),
        ("planes", parts.planes.len()),
        ("lights", parts.lights.len()),
    ] {
        if count > ITEMS_MAX {
            return Err(SceneError::TooMany { items, count });
        }
    }
    let materials = parts.materials.len();
    check_camera(&parts.header.camera)?;
    check_each("background", &[parts.header.background], |&colour| {
        background_rule(colour)
    })?;
    check_each("material", parts.materials, material_rule)?;
    check_each("sphere", parts.spheres, |sphere| {
        sphere_rule(sphere, materials)
    })?;
    check_each("triangle", parts.triangles, |triangle| {
        triangle_rule(triangle, materials)
    })?;
    check_each("plane", parts.planes, |plane| plane_rule(plane, materials))?;
    check_each("light", parts.lights, light_rule)
}

fn check_each<T>(
    item: &'static str,
    all: &[T],
    broken_rule: impl Fn(&T) -> Option<&'static str>,
) -> Result<(), SceneError> {
    for (index, each) in all.iter().enumerate() {
        if let Some(rule) = broken_rule(each) {
            return Err(SceneError::Value { item, index, rule });
        }
    }
    Ok(())
}

pub(super) fn check_camera(camera: &Camera) -> Result<(), SceneError> {
    let Camera { width, height, .. } = *camera;
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || width > SIDE_MAX || height > SIDE_MAX || pixels > PIXELS_MAX {
        return Err(SceneError::Resolution { width, height });
    }
    check_each("camera", &[*camera], camera_rule)
}

// A comparison with a NaN is false, so each rule asks for what must hold, never for what must not.

fn camera_rule(camera: &Camera) -> Option<&'static str> {
    first_broken([
        (
            is_place(camera.from) && is_place(camera.at),
            "coordinates must be at most 1e12",
        ),
        (
            (camera.at - camera.from).unit().is_some(),
            "the point looked at is the eye",
        ),
        (camera.up.unit().is_some(), "the up direction has no length"),
        (
            camera.angle_degrees > 0.0 && camera.angle_degrees < 180.0,
            "the angle of view must lie between 0 and 180 degrees",
        ),
        (
            camera.hither >= 0.0 && camera.hither <= COORDINATE_MAX,
            "the hither distance must be 0 to 1e12",
        ),
    ])
}

fn background_rule(colour: Vec3) -> Option<&'static str> {
    first_broken([(
        colour.all(is_coefficient),
        "the colour's components must be 0 to 1e6",
    )])
}

pub(super) fn material_rule(material: &Material) -> Option<&'static str> {
    let coefficients = [
        material.ambient,
        material.diffuse,
        material.highlight,
        material.shine,
        material.reflection,
        material.transmission,
        material.refraction_index,
    ];
    first_broken([
        (
            material.colour.all(is_coefficient),
            "the colour's components must be 0 to 1e6",
        ),
        (
            coefficients.into_iter().all(is_coefficient),
            "coefficients must be 0 to 1e6",
        ),
        (
            material.transmission == 0.0 || material.refraction_index >= 1e-6,
            "a transparent material needs an index of refraction above 0",
        ),
    ])
}

fn sphere_rule(sphere: &Sphere, materials: usize) -> Option<&'static str> {
    first_broken([
        (is_place(sphere.centre), "coordinates must be at most 1e12"),
        (
            sphere.radius > 0.0 && sphere.radius <= COORDINATE_MAX,
            "the radius must be above 0 and at most 1e12",
        ),
        (
            (sphere.material as usize) < materials,
            "there is no such material",
        ),
    ])
}

fn triangle_rule(triangle: &Triangle, materials: usize) -> Option<&'static str> {
    first_broken([
        (
            triangle.corners.into_iter().all(is_place),
            "coordinates must be at most 1e12",
        ),
        (
            triangle.normals.into_iter().all(is_place),
            "normals must be at most 1e12",
        ),
        (
            (triangle.material as usize) < materials,
            "there is no such material",
        ),
    ])
}

fn plane_rule(plane: &Plane, materials: usize) -> Option<&'static str> {
    first_broken([
        (
            (plane.normal.length() - 1.0).abs() < 1e-6,
            "the normal must have length 1",
        ),
        (
            plane.offset.abs() <= COORDINATE_MAX,
            "the offset must be at most 1e12",
        ),
        (
            (plane.material as usize) < materials,
            "there is no such material",
        ),
    ])
}

fn light_rule(light: &Light) -> Option<&'static str> {
    first_broken([
        (is_place(light.position), "coordinates must be at most 1e12"),
        (
            light.intensity.all(is_coefficient),
            "the intensity's components must be 0 to 1e6",
        ),
    ])
}

fn first_broken<const N: usize>(rules: [(bool, &'static str); N]) -> Option<&'static str> {
    rules
        .into_iter()
        .find(|(holds, _)| !holds)
        .map(|(_, rule)| rule)
}

fn is_place(point: Vec3) -> bool {
    point.all(|coordinate| coordinate.abs() <= COORDINATE_MAX)
}

fn is_coefficient(value: f64) -> bool {
    (0.0..=COEFFICIENT_MAX).contains(&value)
}

/// Checks that the nodes are a tree in preorder whose leaves hold every sphere and triangle once.
///
/// In preorder, whatever follows a leaf is the right child that has waited the shortest, so a walk
/// that checks just this has checked the shape. The depth is that of the node the walk stands at.
fn check_tree(parts: &SceneParts<'_>) -> Result<(), SceneError> {
    let mut waiting: Vec<(u32, usize)> = Vec::new();
    let mut depth = 0;
    let (mut spheres, mut triangles) = (0usize, 0usize);
    let mut ended = parts.nodes.is_empty();
    for (index, node) in parts.nodes.iter().enumerate() {
        let broken = |rule| SceneError::Tree { node: index, rule };
        if ended {
            return Err(broken("it follows the end of the tree"));
        }
        if !node.is_leaf() {
            if depth == TREE_DEPTH_MAX {
                return Err(broken("the tree is too deep"));
            }
            depth += 1;
            waiting.push((node.right, depth));
            continue;
        }
        if (node.first_sphere as usize, node.first_triangle as usize) != (spheres, triangles) {
            return Err(broken(
                "its primitives do not follow those of the leaf before",
            ));
        }
        spheres += usize::from(node.spheres);
        triangles += usize::from(node.triangles);
        match waiting.pop() {
            Some((next, its_depth)) if next as usize == index + 1 => depth = its_depth,
            Some(_) => return Err(broken("no right child follows this leaf")),
            None => ended = true,
        }
    }
    let last = parts.nodes.len().saturating_sub(1);
    if !ended {
        return Err(SceneError::Tree {
            node: last,
            rule: "the tree is cut off here",
        });
    }
    if (spheres, triangles) != (parts.spheres.len(), parts.triangles.len()) {
        let rule = "the leaves do not hold every sphere and triangle";
        return Err(SceneError::Tree { node: last, rule });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
