//! Cuts the side of a cylinder or truncated cone into triangles; the shading normals stay those of
//! the round surface.

use super::vector::{Vec3, vec3};

/// Flat sides that stand for the round one.
const SIDES: u32 = 64;

/// A circle about the axis of a cone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rim {
    pub(super) centre: Vec3,
    pub(super) radius: f64,
}

/// A corner and its shading normal.
pub(super) type Vertex = (Vec3, Vec3);

/// The triangles of the open side between two rims, outside to the front; `None` if the rims do not
/// span one (same centre, both radii zero, or anything not finite).
pub(super) fn tessellate(base: Rim, apex: Rim) -> Option<Vec<[Vertex; 3]>> {
    let along = apex.centre - base.centre;
    let axis = along.unit()?;
    if !(base.radius >= 0.0 && apex.radius >= 0.0 && base.radius + apex.radius > 0.0) {
        return None;
    }
    let (u, v) = across(axis)?;
    let slope = (base.radius - apex.radius) / along.length();
    let spoke = |side: u32| {
        let angle = std::f64::consts::TAU * f64::from(side % SIDES) / f64::from(SIDES);
        let direction = u * libm::cos(angle) + v * libm::sin(angle);
        let normal = direction + axis * slope;
        let on = |rim: Rim| (rim.centre + direction * rim.radius, normal);
        (on(base), on(apex))
    };
    let mut triangles = Vec::with_capacity(2 * SIDES as usize);
    for side in 0..SIDES {
        let ((low, high), (next_low, next_high)) = (spoke(side), spoke(side + 1));
        if base.radius > 0.0 {
            triangles.push([low, next_low, high]);
        }
        if apex.radius > 0.0 {
            triangles.push([next_low, next_high, high]);
        }
    }
    Some(triangles)
}

/// Two directions that are perpendicular to `axis` and to each other, right-handed with it.
pub(super) fn across(axis: Vec3) -> Option<(Vec3, Vec3)> {
    let helper = if axis.x.abs() < 0.5 {
        vec3(1.0, 0.0, 0.0)
    } else {
        vec3(0.0, 1.0, 0.0)
    };
    let u = axis.cross(helper).unit()?;
    Some((u, axis.cross(u)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triangles_face_outward_and_keep_to_the_rims() {
        let base = Rim {
            centre: vec3(1.0, 2.0, 3.0),
            radius: 2.0,
        };
        for radius in [2.0, 1.0, 0.0] {
            let apex = Rim {
                centre: vec3(1.0, 2.0, 7.0),
                radius,
            };
            let triangles = tessellate(base, apex).unwrap();
            assert_eq!(triangles.len(), if radius > 0.0 { 128 } else { 64 });
            for [(a, normal), (b, _), (c, _)] in triangles {
                assert!((b - a).cross(c - a).dot(normal) > 0.0);
                let distance = vec3(a.x - 1.0, a.y - 2.0, 0.0).length();
                let expected = if a.z == 3.0 { 2.0 } else { radius };
                assert!((distance - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn rims_that_span_nothing_give_nothing() {
        let rim = |z, radius| Rim {
            centre: vec3(0.0, 0.0, z),
            radius,
        };
        for (base, apex) in [
            (rim(1.0, 1.0), rim(1.0, 2.0)),
            (rim(0.0, 0.0), rim(1.0, 0.0)),
            (rim(0.0, -1.0), rim(1.0, 2.0)),
            (rim(0.0, f64::NAN), rim(1.0, 2.0)),
            (rim(f64::NAN, 1.0), rim(1.0, 2.0)),
        ] {
            assert!(tessellate(base, apex).is_none());
        }
    }
}
