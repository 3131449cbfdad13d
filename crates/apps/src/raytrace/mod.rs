//! A recursive ray tracer (Whitted, *An improved illumination model for shaded display*, CACM
//! 1980): spheres, triangles and planes, point lights, shadows, reflection and refraction.
//!
//! A scene is read or generated once, on one station, and is then a handful of slices of plain old
//! data that everybody reads and nobody writes:
//!
//! ```text
//! nff, obj, balls ──> SceneBuilder ──build──> Scene ──parts──> SceneParts ──> the heap
//!                     (grows)                 (owned,          (slices)      SharedScene
//!                                              with tree)                        │
//!  png <── Canvas <── pixels <──render_tile── SceneView <──check── SceneParts <──┘
//! ```
//!
//! - [`scene`] holds the plain types, [`SceneBuilder`] makes scenes of them, and [`SceneView`] is
//!   the proof that slices found somewhere make a scene: rendering one neither panics nor fails to
//!   end, whatever the bytes were.
//! - [`nff`] and [`obj`] read files, [`balls`] generates the classical benchmark.
//! - [`render_tile`] computes a rectangle of the image. Every pixel is a function of the scene, its
//!   place and the options alone, so tiles can be computed in any order, anywhere, and twice.
//! - [`Raytrace`] is the application: it puts the scene into the heap and makes each tile an
//!   activity.

mod app;
pub mod balls;
mod builder;
mod bvh;
mod camera;
mod cone;
mod intersect;
pub mod nff;
pub mod obj;
mod obj_check;
pub mod png;
mod polygon;
mod render;
pub mod scene;
mod shared_scene;
mod tile;
mod vector;
mod view;

pub use app::{Options, Raytrace, register};
pub use builder::{Scene, SceneBuilder};
pub use render::{OptionsError, RenderOptions, render_tile};
pub use tile::{Canvas, Pixel, Tile, tiles};
pub use vector::Vec3;
pub use view::{SceneError, SceneParts, SceneView};

/// Why a file gave no scene.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file, as it was named.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The text breaks the format.
    #[error("{file}:{line}: expected {expected}, found {found}")]
    Syntax {
        /// The file, as it was named.
        file: String,
        /// The line at fault, from 1.
        line: usize,
        /// What the format asks for at this place.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// The text follows the format, but describes something impossible.
    #[error("{file}:{line}: {item}: {rule}")]
    Meaning {
        /// The file, as it was named.
        file: String,
        /// The line where the description begins, from 1.
        line: usize,
        /// The kind of thing described.
        item: &'static str,
        /// The rule that is broken.
        rule: &'static str,
    },
    /// Nothing can be seen from the viewpoint that a text describes.
    #[error("{file}:{line}: {source}")]
    Viewpoint {
        /// The file, as it was named.
        file: String,
        /// The line where the viewpoint begins, from 1.
        line: usize,
        /// The rule that is broken.
        source: SceneError,
    },
    /// A Wavefront file, or a material library that it names, breaks the format.
    #[error("{file}: {source}; check the file with the program that wrote it")]
    Wavefront {
        /// The file, as it was named.
        file: String,
        /// What the reader said.
        source: tobj::LoadError,
    },
    /// A Wavefront file shows nothing.
    #[error("{file} holds no faces; is it a Wavefront OBJ file?")]
    NoFaces {
        /// The file, as it was named.
        file: String,
    },
    /// The file can be read, but what it describes cannot be rendered.
    #[error("{file}: {source}")]
    Scene {
        /// The file, as it was named.
        file: String,
        /// The rule that is broken.
        source: SceneError,
    },
}
