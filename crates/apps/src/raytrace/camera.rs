//! From pixels to rays.

use super::cone::across;
use super::intersect::Ray;
use super::scene::Camera;
use super::vector::Vec3;

/// A camera turned into the directions of its image.
pub(super) struct Lens {
    from: Vec3,
    forward: Vec3,
    right: Vec3,
    down: Vec3,
    hither: f64,
    /// Half the image in pixels.
    half: [f64; 2],
    /// Side of a pixel on a screen one unit before the eye.
    pixel: f64,
}

impl Lens {
    /// The lens of a camera that was checked.
    pub(super) fn new(camera: &Camera) -> Self {
        let forward = (camera.at - camera.from)
            .unit()
            .expect("a checked camera looks somewhere");
        // Looking straight up or down, any direction serves as the image's upper edge.
        let right = camera.up.unit().and_then(|up| {
            let right = forward.cross(up);
            (right.length() > 1e-9).then(|| right.unit()).flatten()
        });
        let right = right
            .or(across(forward).map(|(u, _)| u))
            .expect("a direction has others across");
        let half_angle = camera.angle_degrees * 0.5 * (std::f64::consts::PI / 180.0);
        let half = [
            f64::from(camera.width) * 0.5,
            f64::from(camera.height) * 0.5,
        ];
        Self {
            from: camera.from,
            forward,
            right,
            down: forward.cross(right),
            hither: camera.hither,
            half,
            pixel: libm::tan(half_angle) / half[1],
        }
    }

    /// The ray through a point of the image, in pixels from its upper left corner, starting on the
    /// hither plane.
    pub(super) fn ray(&self, x: f64, y: f64) -> Ray {
        let across = self.right * ((x - self.half[0]) * self.pixel);
        let along = self.down * ((y - self.half[1]) * self.pixel);
        let direction = (self.forward + across + along)
            .unit()
            .unwrap_or(self.forward);
        let start = self.hither / direction.dot(self.forward);
        Ray::new(self.from + direction * start, direction)
    }
}
