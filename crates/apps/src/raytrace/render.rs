//! Colours of rays and pixels.

use plurix::plain;

use super::camera::Lens;
use super::intersect::{Hit, Ray, Surface, nearest, transmittance};
use super::scene::{Light, Material};
use super::tile::{Pixel, Tile};
use super::vector::Vec3;
use super::view::SceneView;

/// The largest [`RenderOptions::depth`].
const DEPTH_MAX: u32 = 16;
/// The largest [`RenderOptions::samples`].
const SAMPLES_MAX: u32 = 32;
/// Rays that count for less of their pixel are not followed; half a step of a colour.
const WEIGHT_MIN: f64 = 0.5 / 255.0;

/// How much work goes into the image.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// Rays per pixel along each axis, 1 to 32; more smooth the edges.
    pub samples: u32,
    /// How often a ray is reflected or refracted at most, 0 to 16.
    pub depth: u32,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            samples: 1,
            depth: 6,
        }
    }
}

/// Why options cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Too few or too many rays per pixel.
    #[error("{0} samples per pixel and axis; choose 1 to {SAMPLES_MAX}")]
    Samples(u32),
    /// Rays would multiply beyond all bounds.
    #[error("rays may be followed {0} times; choose at most {DEPTH_MAX}")]
    Depth(u32),
}

impl RenderOptions {
    /// Checks that the options can be followed.
    ///
    /// # Errors
    /// [`OptionsError`] naming the option that is out of range.
    pub fn check(&self) -> Result<(), OptionsError> {
        if !(1..=SAMPLES_MAX).contains(&self.samples) {
            return Err(OptionsError::Samples(self.samples));
        }
        if self.depth > DEPTH_MAX {
            return Err(OptionsError::Depth(self.depth));
        }
        Ok(())
    }
}

/// Renders the part of `tile` that lies within the image, row by row. A pixel's value depends on
/// nothing but the scene, its place and the options.
///
/// # Errors
/// [`OptionsError`] if `options` are out of range.
pub fn render_tile(
    view: &SceneView<'_>,
    tile: Tile,
    options: RenderOptions,
) -> Result<Vec<Pixel>, OptionsError> {
    options.check()?;
    let tile = tile.clip(view.camera().width, view.camera().height);
    let tracer = Tracer {
        view,
        extent: extent(view),
        depth: options.depth,
    };
    let lens = Lens::new(view.camera());
    let mut pixels = Vec::with_capacity(tile.pixels());
    for y in tile.y..tile.y + tile.height {
        for x in tile.x..tile.x + tile.width {
            pixels.push(tracer.pixel(&lens, x, y, options.samples));
        }
    }
    Ok(pixels)
}

/// The largest coordinate that rays start from or end at, the planes aside; it says how precise the
/// coordinates of a point on a surface are.
fn extent(view: &SceneView<'_>) -> f64 {
    let bounds = view
        .parts()
        .nodes
        .first()
        .map_or(0.0, |n| n.min.magnitude().max(n.max.magnitude()));
    bounds.max(view.camera().from.magnitude())
}

struct Tracer<'a> {
    view: &'a SceneView<'a>,
    extent: f64,
    depth: u32,
}

/// A point on a surface, seen along a ray.
struct Point<'a> {
    place: Vec3,
    material: &'a Material,
    /// The surface's direction at the point, on the side of the viewer.
    face: Vec3,
    /// The same for shading, where flat triangles stand for a round surface.
    normal: Vec3,
    /// Whether the viewer is outside.
    from_outside: bool,
    /// How far from the surface a ray has to start in order not to meet it again.
    clearance: f64,
}

impl Tracer<'_> {
    fn pixel(&self, lens: &Lens, x: u32, y: u32, samples: u32) -> Pixel {
        let mut sum = Vec3::default();
        for row in 0..samples {
            for column in 0..samples {
                let place = |pixel, sample| {
                    f64::from(pixel) + (f64::from(sample) + 0.5) / f64::from(samples)
                };
                sum += self.trace(&lens.ray(place(x, column), place(y, row)), 1.0, self.depth);
            }
        }
        let mean = sum * (1.0 / f64::from(samples * samples));
        // The conversion saturates, and turns what is no number into 0.
        mean.array()
            .map(|component| (component * 255.0 + 0.5) as u8)
    }

    /// The colour that comes along `ray`, which counts for `weight` of its pixel.
    fn trace(&self, ray: &Ray, weight: f64, depth: u32) -> Vec3 {
        let parts = self.view.parts();
        let Some(hit) = nearest(self.view, ray) else {
            return parts.header.background;
        };
        let point = self.point(ray, hit);
        let material = point.material;
        let mut colour = material.colour * material.ambient;
        for light in parts.lights {
            colour += self.lit(&point, ray, light);
        }
        let mut follow = |direction: Vec3, share: f64| {
            if depth > 0 && weight * share > WEIGHT_MIN {
                let next = Ray::new(point.start(direction), direction);
                colour += self.trace(&next, weight * share, depth - 1) * share;
            }
        };
        let mut reflection = material.reflection;
        if material.transmission > 0.0 {
            match refract(ray.direction, point.normal, point.refraction_ratio()) {
                Some(direction) => follow(direction, material.transmission),
                None => reflection += material.transmission,
            }
        }
        if reflection > 0.0 {
            follow(reflect(ray.direction, point.normal), reflection);
        }
        colour
    }

    /// What `light` adds at the point: Lambert's diffuse and Phong's highlight.
    fn lit(&self, point: &Point<'_>, ray: &Ray, light: &Light) -> Vec3 {
        let to_light = light.position - point.place;
        let Some(direction) = to_light.unit() else {
            return Vec3::default();
        };
        let (cosine, material) = (point.normal.dot(direction), point.material);
        if cosine <= 0.0 || point.face.dot(direction) <= 0.0 {
            return Vec3::default();
        }
        if material.diffuse == 0.0 && material.highlight == 0.0 {
            return Vec3::default();
        }
        let shadow = Ray::new(point.start(direction), direction);
        let share = transmittance(self.view, &shadow, to_light.length() - point.clearance);
        if share == 0.0 {
            return Vec3::default();
        }
        let mut answer = material.colour * (material.diffuse * cosine);
        let mirrored = reflect(ray.direction, point.normal).dot(direction);
        if material.highlight > 0.0 && mirrored > 0.0 {
            answer += Vec3::splat(material.highlight * libm::pow(mirrored, material.shine));
        }
        answer.times(light.intensity) * share
    }

    fn point(&self, ray: &Ray, hit: Hit) -> Point<'_> {
        let parts = self.view.parts();
        let place = ray.at(hit.t);
        let (material, face, normal) = match hit.surface {
            Surface::Sphere(index) => {
                let sphere = &parts.spheres[index];
                let normal = (place - sphere.centre).unit();
                (sphere.material, normal, normal)
            }
            Surface::Triangle(index, u, v) => {
                let triangle = &parts.triangles[index];
                let [a, b, c] = triangle.corners;
                let [na, nb, nc] = triangle.normals;
                let face = (b - a).cross(c - a).unit();
                let normal = (na * (1.0 - u - v) + nb * u + nc * v).unit();
                (triangle.material, face, normal.or(face))
            }
            Surface::Plane(index) => {
                let plane = &parts.planes[index];
                (plane.material, Some(plane.normal), Some(plane.normal))
            }
        };
        // Something too small to have a direction is seen from the front.
        let face = face.unwrap_or(-ray.direction);
        let normal = normal.unwrap_or(face);
        let from_outside = face.dot(ray.direction) <= 0.0;
        let side = if from_outside { 1.0 } else { -1.0 };
        Point {
            place,
            material: &parts.materials[material as usize],
            face: face * side,
            normal: normal * side,
            from_outside,
            clearance: 1e-9 * (self.extent + hit.t),
        }
    }
}

impl Point<'_> {
    /// Where a ray that leaves in `direction` starts: a little off the surface, on the side that it
    /// goes to.
    fn start(&self, direction: Vec3) -> Vec3 {
        let side = if self.face.dot(direction) < 0.0 {
            -1.0
        } else {
            1.0
        };
        self.place + self.face * (self.clearance * side)
    }

    /// Index of refraction on the viewer's side, divided by that beyond the surface.
    fn refraction_ratio(&self) -> f64 {
        let inside = self.material.refraction_index;
        if self.from_outside {
            1.0 / inside
        } else {
            inside
        }
    }
}

/// The mirror image of `direction` at a surface.
fn reflect(direction: Vec3, normal: Vec3) -> Vec3 {
    direction - normal * (2.0 * direction.dot(normal))
}

/// The way of a ray beyond a surface by Snell's law, or `None` for total internal reflection.
/// `normal` points to the side that the ray comes from.
fn refract(direction: Vec3, normal: Vec3, ratio: f64) -> Option<Vec3> {
    let cosine = -direction.dot(normal);
    let rest = 1.0 - ratio * ratio * (1.0 - cosine * cosine);
    if rest < 0.0 {
        return None;
    }
    (direction * ratio + normal * (ratio * cosine - rest.sqrt())).unit()
}

#[cfg(test)]
mod tests;
