//! The plain types that a scene is made of, as they lie in the shared heap: fixed layout, no
//! padding, no pointers. References are indices into the slice of their kind.

use plurix::plain;

use super::vector::{Vec3, vec3};

/// The largest magnitude of a coordinate or radius; squares of squares stay finite.
pub const COORDINATE_MAX: f64 = 1e12;
/// The largest component of a colour, coefficient or intensity.
pub const COEFFICIENT_MAX: f64 = 1e6;
/// The most spheres, triangles, planes, lights or materials of a scene.
pub const ITEMS_MAX: usize = 1 << 26;
/// The longest side of an image, in pixels.
pub const SIDE_MAX: u32 = 1 << 15;
/// The most pixels of an image.
pub const PIXELS_MAX: u64 = 1 << 28;
/// The most inner nodes on a path of the tree; bounds the stack of a traversal.
pub const TREE_DEPTH_MAX: usize = 64;

/// Where the picture is taken from.
#[plain]
#[derive(Debug, PartialEq)]
pub struct Camera {
    /// The eye.
    pub from: Vec3,
    /// The point at the centre of the image.
    pub at: Vec3,
    /// A direction that points up in the image.
    pub up: Vec3,
    /// Angle between the image's upper and lower edge, in degrees.
    pub angle_degrees: f64,
    /// Distance from the eye to the plane before which nothing is seen.
    pub hither: f64,
    /// Width of the image in pixels.
    pub width: u32,
    /// Height of the image in pixels.
    pub height: u32,
}

impl Default for Camera {
    fn default() -> Self {
        Self {
            from: vec3(0.0, 0.0, 10.0),
            at: vec3(0.0, 0.0, 0.0),
            up: vec3(0.0, 1.0, 0.0),
            angle_degrees: 45.0,
            hither: 0.0,
            width: 512,
            height: 512,
        }
    }
}

/// The one record of a scene that is not a slice.
#[plain]
#[derive(Debug, PartialEq)]
pub struct SceneHeader {
    /// Where the picture is taken from.
    pub camera: Camera,
    /// The colour of rays that hit nothing.
    pub background: Vec3,
    /// Number of materials.
    pub materials: u32,
    /// Number of spheres.
    pub spheres: u32,
    /// Number of triangles.
    pub triangles: u32,
    /// Number of planes.
    pub planes: u32,
    /// Number of lights.
    pub lights: u32,
    /// Number of nodes of the bounding-volume hierarchy.
    pub nodes: u32,
}

/// How a surface answers light.
#[plain]
#[derive(Debug, PartialEq)]
pub struct Material {
    /// Colour of the surface, for diffuse and ambient light.
    pub colour: Vec3,
    /// Share of the colour that is there without any light.
    pub ambient: f64,
    /// Share of the light that is scattered in all directions.
    pub diffuse: f64,
    /// Strength of highlights.
    pub highlight: f64,
    /// Phong exponent of highlights: the larger, the smaller they are.
    pub shine: f64,
    /// Share of the light that is reflected as by a mirror.
    pub reflection: f64,
    /// Share of the light that passes through.
    pub transmission: f64,
    /// Index of refraction of the inside; the outside has 1.
    pub refraction_index: f64,
}

impl Default for Material {
    /// Matt white.
    fn default() -> Self {
        Self {
            colour: Vec3::splat(1.0),
            ambient: 0.0,
            diffuse: 1.0,
            highlight: 0.0,
            shine: 0.0,
            reflection: 0.0,
            transmission: 0.0,
            refraction_index: 1.0,
        }
    }
}

/// A sphere.
#[plain]
#[derive(Debug, PartialEq)]
pub struct Sphere {
    /// The centre.
    pub centre: Vec3,
    /// The radius.
    pub radius: f64,
    /// Index of the material.
    pub material: u32,
    /// Ignored; fills the record to 48 bytes.
    pub reserved: [u32; 3],
}

/// A triangle. Its front, from which the corners go counterclockwise, is the outside.
#[plain]
#[derive(Debug, PartialEq)]
pub struct Triangle {
    /// The corners.
    pub corners: [Vec3; 3],
    /// The normal used for shading at each corner; of any length.
    pub normals: [Vec3; 3],
    /// Index of the material.
    pub material: u32,
    /// Ignored; fills the record to 160 bytes.
    pub reserved: [u32; 3],
}

/// An infinite plane: the points `p` with `normal · p = offset`.
#[plain]
#[derive(Debug, PartialEq)]
pub struct Plane {
    /// Direction of the outside, of length 1.
    pub normal: Vec3,
    /// Signed distance from the origin along the normal.
    pub offset: f64,
    /// Index of the material.
    pub material: u32,
    /// Ignored; fills the record to 48 bytes.
    pub reserved: [u32; 3],
}

/// A point light, as bright from afar as from near.
#[plain]
#[derive(Debug, PartialEq)]
pub struct Light {
    /// Where it is.
    pub position: Vec3,
    /// Its colour and strength.
    pub intensity: Vec3,
}

/// A node of the bounding-volume hierarchy; exactly one line of the heap.
///
/// Nodes stand in preorder: the left child of node `i` is `i + 1`. Spheres and triangles are sorted
/// so that those of the leaves, in order of the nodes, are consecutive.
#[plain]
#[derive(Debug, PartialEq)]
pub struct Node {
    /// Least coordinates of everything below.
    pub min: Vec3,
    /// Greatest coordinates of everything below.
    pub max: Vec3,
    /// Index of the right child, or 0 for a leaf.
    pub right: u32,
    /// Leaf: index of its first sphere.
    pub first_sphere: u32,
    /// Leaf: index of its first triangle.
    pub first_triangle: u32,
    /// Leaf: number of its spheres.
    pub spheres: u16,
    /// Leaf: number of its triangles.
    pub triangles: u16,
}

impl Node {
    /// Whether the node holds primitives rather than children.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        self.right == 0
    }
}

const _: () = assert!(
    size_of::<SceneHeader>() == 144
        && size_of::<Material>() == 80
        && size_of::<Sphere>() == 48
        && size_of::<Triangle>() == 160
        && size_of::<Plane>() == 48
        && size_of::<Light>() == 48
        && size_of::<Node>() == 64
);
