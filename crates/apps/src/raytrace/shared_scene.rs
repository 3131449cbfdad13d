//! A scene in the heap, where every station finds it: one record with pointers to its slices.

use plurix::{Ptr, Result, Station, Transaction, plain};

use super::scene::{Light, Material, Node, Plane, SceneHeader, Sphere, Triangle};
use super::view::{SceneParts, SceneView};
use crate::run::fill;

/// Where the parts of a scene are.
#[plain]
pub(super) struct SharedScene {
    header: SceneHeader,
    materials: Ptr<[Material]>,
    spheres: Ptr<[Sphere]>,
    triangles: Ptr<[Triangle]>,
    planes: Ptr<[Plane]>,
    lights: Ptr<[Light]>,
    nodes: Ptr<[Node]>,
}

impl SharedScene {
    /// Makes room for `parts`, which [`fill`](Self::fill) then puts there.
    pub(super) fn allocate(tx: &mut Transaction<'_>, parts: &SceneParts<'_>) -> Result<Self> {
        Ok(Self {
            header: *parts.header,
            materials: tx.alloc_slice(parts.materials.len())?,
            spheres: tx.alloc_slice(parts.spheres.len())?,
            triangles: tx.alloc_slice(parts.triangles.len())?,
            planes: tx.alloc_slice(parts.planes.len())?,
            lights: tx.alloc_slice(parts.lights.len())?,
            nodes: tx.alloc_slice(parts.nodes.len())?,
        })
    }

    /// Copies `parts` into the heap.
    pub(super) fn fill(&self, station: &mut Station, parts: &SceneParts<'_>) -> Result<()> {
        fill(station, self.materials, parts.materials)?;
        fill(station, self.spheres, parts.spheres)?;
        fill(station, self.triangles, parts.triangles)?;
        fill(station, self.planes, parts.planes)?;
        fill(station, self.lights, parts.lights)?;
        fill(station, self.nodes, parts.nodes)
    }

    /// The scene, read where it lies. It is checked as if it came from a stranger: a station can
    /// trust the types of what it finds in the heap, not the indices.
    pub(super) fn view<'t>(&'t self, tx: &'t Transaction<'_>) -> Result<SceneView<'t>> {
        let parts = SceneParts {
            header: &self.header,
            materials: tx.get(self.materials)?,
            spheres: tx.get(self.spheres)?,
            triangles: tx.get(self.triangles)?,
            planes: tx.get(self.planes)?,
            lights: tx.get(self.lights)?,
            nodes: tx.get(self.nodes)?,
        };
        SceneView::check(parts).map_err(|error| tx.abort(error))
    }
}
