//! Scenes under construction, and the owned scenes that come of them.

use super::bvh;
use super::cone::{self, Rim};
use super::polygon;
use super::scene::{Camera, Light, Material, Node, Plane, SceneHeader, Sphere, Triangle};
use super::vector::Vec3;
use super::view::{SceneError, SceneParts, SceneView, check_camera, check_values};

/// A scene that grows thing by thing. Shapes take the material that was added last.
#[derive(Debug, Clone, Default)]
pub struct SceneBuilder {
    camera: Camera,
    background: Vec3,
    materials: Vec<Material>,
    spheres: Vec<Sphere>,
    triangles: Vec<Triangle>,
    planes: Vec<Plane>,
    lights: Vec<Light>,
}

impl SceneBuilder {
    /// A scene without anything in it.
    #[must_use]
    pub fn new(camera: Camera, background: Vec3) -> Self {
        Self {
            camera,
            background,
            ..Self::default()
        }
    }

    /// Sets where the picture is taken from.
    pub fn set_camera(&mut self, camera: Camera) {
        self.camera = camera;
    }

    /// Sets the colour of rays that hit nothing.
    pub fn set_background(&mut self, background: Vec3) {
        self.background = background;
    }

    /// Adds a material, for the shapes that follow.
    pub fn material(&mut self, material: Material) {
        self.materials.push(material);
    }

    /// Adds a sphere.
    pub fn sphere(&mut self, centre: Vec3, radius: f64) {
        let material = self.current_material();
        self.spheres.push(Sphere {
            centre,
            radius,
            material,
            reserved: [0; 3],
        });
    }

    /// Adds the plane through `point` whose outside is where `normal`, of any length, points to.
    pub fn plane(&mut self, point: Vec3, normal: Vec3) {
        let material = self.current_material();
        // A normal without direction stays as it is, for `build` to refuse.
        let normal = normal.unit().unwrap_or(normal);
        let offset = normal.dot(point);
        self.planes.push(Plane {
            normal,
            offset,
            material,
            reserved: [0; 3],
        });
    }

    /// Adds a plane polygon, convex or not, whose corners go counterclockwise seen from outside. One
    /// without area adds nothing, because it cannot be seen.
    pub fn polygon(&mut self, corners: &[Vec3]) {
        for triangle in polygon::triangulate(corners) {
            self.triangle(triangle.map(|corner| corners[corner]), None);
        }
    }

    /// Adds a polygon as [`Self::polygon`] does, shaded by the normals at its corners; as many of
    /// them count as there are corners.
    pub fn patch(&mut self, corners: &[Vec3], normals: &[Vec3]) {
        let normal = |corner: usize| normals.get(corner).copied().unwrap_or_default();
        for triangle in polygon::triangulate(corners) {
            self.triangle(
                triangle.map(|corner| corners[corner]),
                Some(triangle.map(normal)),
            );
        }
    }

    /// Adds the open side of a truncated cone between circles about `base` and `apex`, as triangles.
    /// Answers whether there is one.
    pub(super) fn cone(&mut self, base: Rim, apex: Rim) -> bool {
        let Some(triangles) = cone::tessellate(base, apex) else {
            return false;
        };
        for vertices in triangles {
            let (corners, normals) = (vertices.map(|v| v.0), vertices.map(|v| v.1));
            self.triangle(corners, Some(normals));
        }
        true
    }

    /// Adds a point light.
    pub fn light(&mut self, position: Vec3, intensity: Vec3) {
        self.lights.push(Light {
            position,
            intensity,
        });
    }

    /// Adds a white light at the camera if there is none, because nothing would be seen.
    pub fn light_if_dark(&mut self) {
        if self.lights.is_empty() {
            self.light(self.camera.from, Vec3::splat(1.0));
        }
    }

    /// Least and greatest coordinates of all spheres and triangles, or `None` without any.
    #[must_use]
    pub fn bounds(&self) -> Option<(Vec3, Vec3)> {
        let spheres = self.spheres.iter().map(bvh::sphere_bounds);
        let triangles = self.triangles.iter().map(bvh::triangle_bounds);
        spheres
            .chain(triangles)
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Checks everything and builds the bounding-volume hierarchy.
    ///
    /// # Errors
    /// [`SceneError`] naming the first thing that cannot be rendered.
    pub fn build(self) -> Result<Scene, SceneError> {
        let mut scene = Scene {
            header: SceneHeader {
                camera: self.camera,
                background: self.background,
                materials: 0,
                spheres: 0,
                triangles: 0,
                planes: 0,
                lights: 0,
                nodes: 0,
            },
            materials: self.materials,
            spheres: self.spheres,
            triangles: self.triangles,
            planes: self.planes,
            lights: self.lights,
            nodes: Vec::new(),
        };
        check_values(&scene.parts())?;
        scene.nodes = bvh::build(&mut scene.spheres, &mut scene.triangles);
        // The counts fit: `check_values` bounds them, and a tree has fewer than two nodes a shape.
        scene.header.materials = scene.materials.len() as u32;
        scene.header.spheres = scene.spheres.len() as u32;
        scene.header.triangles = scene.triangles.len() as u32;
        scene.header.planes = scene.planes.len() as u32;
        scene.header.lights = scene.lights.len() as u32;
        scene.header.nodes = scene.nodes.len() as u32;
        Ok(scene)
    }

    /// The material for the next shape; the default one if none was added yet.
    fn current_material(&mut self) -> u32 {
        if self.materials.is_empty() {
            self.materials.push(Material::default());
        }
        u32::try_from(self.materials.len() - 1).unwrap_or(u32::MAX)
    }

    fn triangle(&mut self, mut corners: [Vec3; 3], normals: Option<[Vec3; 3]>) {
        let face = (corners[1] - corners[0]).cross(corners[2] - corners[0]);
        if face.dot(face) == 0.0 {
            return;
        }
        let mut normals = normals
            .unwrap_or([face; 3])
            .map(|n| n.unit().unwrap_or_default());
        // The outside is decided by the order of the corners; files decide it by the normals.
        if face.dot(normals[0] + normals[1] + normals[2]) < 0.0 {
            corners.swap(1, 2);
            normals.swap(1, 2);
        }
        let material = self.current_material();
        self.triangles.push(Triangle {
            corners,
            normals,
            material,
            reserved: [0; 3],
        });
    }
}

/// A complete scene in memory of its own.
#[derive(Debug, Clone)]
pub struct Scene {
    header: SceneHeader,
    materials: Vec<Material>,
    spheres: Vec<Sphere>,
    triangles: Vec<Triangle>,
    planes: Vec<Plane>,
    lights: Vec<Light>,
    nodes: Vec<Node>,
}

impl Scene {
    /// The slices, to be copied to where they are shared.
    #[must_use]
    pub fn parts(&self) -> SceneParts<'_> {
        SceneParts {
            header: &self.header,
            materials: &self.materials,
            spheres: &self.spheres,
            triangles: &self.triangles,
            planes: &self.planes,
            lights: &self.lights,
            nodes: &self.nodes,
        }
    }

    /// The scene as what it is: one that can be rendered.
    ///
    /// # Panics
    /// Never: a scene was checked when it was built.
    #[must_use]
    pub fn view(&self) -> SceneView<'_> {
        SceneView::check(self.parts()).expect("a scene was checked when it was built")
    }

    /// The camera.
    #[must_use]
    pub fn camera(&self) -> &Camera {
        &self.header.camera
    }

    /// Takes the picture with another camera, such as one with another resolution.
    ///
    /// # Errors
    /// [`SceneError`] if the camera sees nothing; the scene keeps the one it had.
    pub fn set_camera(&mut self, camera: Camera) -> Result<(), SceneError> {
        check_camera(&camera)?;
        self.header.camera = camera;
        Ok(())
    }
}
