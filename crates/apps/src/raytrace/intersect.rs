//! Where rays meet primitives, and the walk through the tree that finds the primitives worth asking.

use super::scene::{Node, Plane, Sphere, TREE_DEPTH_MAX, Triangle};
use super::vector::{Vec3, vec3};
use super::view::SceneView;

/// A half-line.
pub(super) struct Ray {
    pub(super) origin: Vec3,
    /// Of length 1.
    pub(super) direction: Vec3,
    /// Reciprocals of the direction's coordinates, finite even where those are zero.
    inverse: Vec3,
}

impl Ray {
    pub(super) fn new(origin: Vec3, direction: Vec3) -> Self {
        let invert = |d: f64| {
            if d.abs() < 1e-200 {
                1e200_f64.copysign(d)
            } else {
                1.0 / d
            }
        };
        let inverse = vec3(
            invert(direction.x),
            invert(direction.y),
            invert(direction.z),
        );
        Self {
            origin,
            direction,
            inverse,
        }
    }

    /// The point at distance `t`.
    pub(super) fn at(&self, t: f64) -> Vec3 {
        self.origin + self.direction * t
    }
}

/// What a ray met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Surface {
    Sphere(usize),
    /// With the barycentric coordinates of the second and third corner.
    Triangle(usize, f64, f64),
    Plane(usize),
}

/// Where a ray met it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hit {
    /// Distance from the ray's origin; above 0.
    pub(super) t: f64,
    pub(super) surface: Surface,
}

/// The nearest surface on the ray.
pub(super) fn nearest(view: &SceneView<'_>, ray: &Ray) -> Option<Hit> {
    let mut nearest: Option<Hit> = None;
    let mut limit = f64::INFINITY;
    for (index, plane) in view.parts().planes.iter().enumerate() {
        if let Some(t) = meet_plane(plane, ray).filter(|&t| t < limit) {
            limit = t;
            nearest = Some(Hit {
                t,
                surface: Surface::Plane(index),
            });
        }
    }
    walk(view, ray, limit, |hit| {
        nearest = Some(hit);
        hit.t
    });
    nearest
}

/// The share of light that gets to the ray's origin from a light at distance `limit`: each surface
/// in between lets its material's transmission pass, unrefracted.
pub(super) fn transmittance(view: &SceneView<'_>, ray: &Ray, limit: f64) -> f64 {
    let parts = view.parts();
    let transmission = |material: u32| parts.materials[material as usize].transmission.min(1.0);
    let mut share = 1.0;
    for plane in parts.planes {
        if meet_plane(plane, ray).is_some_and(|t| t < limit) {
            share *= transmission(plane.material);
        }
    }
    if share == 0.0 {
        return share;
    }
    walk(view, ray, limit, |hit| {
        share *= transmission(match hit.surface {
            Surface::Sphere(index) => parts.spheres[index].material,
            Surface::Triangle(index, ..) => parts.triangles[index].material,
            Surface::Plane(index) => parts.planes[index].material,
        });
        // Nothing is nearer than 0, which ends the walk.
        if share == 0.0 { 0.0 } else { limit }
    });
    share
}

/// Walks through the boxes on the ray, the nearer of two first, and hands every primitive that is
/// met before the limit to `visit`, which answers the limit from there on.
fn walk(view: &SceneView<'_>, ray: &Ray, mut limit: f64, mut visit: impl FnMut(Hit) -> f64) {
    let nodes = view.parts().nodes;
    let Some(entry) = nodes.first().and_then(|root| enter(root, ray, limit)) else {
        return;
    };
    // A checked tree has no path of more inner nodes, and each leaves one child to come back to.
    let mut later = [(0u32, 0.0f64); TREE_DEPTH_MAX];
    let mut waiting = 0;
    let (mut at, mut entry) = (0, entry);
    loop {
        let node = &nodes[at];
        if entry >= limit {
            // Something nearer was found since this box was put aside.
        } else if node.is_leaf() {
            limit = visit_leaf(view, node, ray, limit, &mut visit);
        } else {
            let (left, right) = (at + 1, node.right as usize);
            match (
                enter(&nodes[left], ray, limit),
                enter(&nodes[right], ray, limit),
            ) {
                (Some(to_left), Some(to_right)) => {
                    let left_first = to_left <= to_right;
                    let second = if left_first {
                        (right, to_right)
                    } else {
                        (left, to_left)
                    };
                    later[waiting] = (second.0 as u32, second.1);
                    waiting += 1;
                    (at, entry) = if left_first {
                        (left, to_left)
                    } else {
                        (right, to_right)
                    };
                    continue;
                }
                (Some(to_left), None) => {
                    (at, entry) = (left, to_left);
                    continue;
                }
                (None, Some(to_right)) => {
                    (at, entry) = (right, to_right);
                    continue;
                }
                (None, None) => {}
            }
        }
        if waiting == 0 {
            return;
        }
        waiting -= 1;
        (at, entry) = (later[waiting].0 as usize, later[waiting].1);
    }
}

fn visit_leaf(
    view: &SceneView<'_>,
    leaf: &Node,
    ray: &Ray,
    mut limit: f64,
    visit: &mut impl FnMut(Hit) -> f64,
) -> f64 {
    let parts = view.parts();
    let first = leaf.first_sphere as usize;
    for index in first..first + usize::from(leaf.spheres) {
        if let Some(t) = meet_sphere(&parts.spheres[index], ray).filter(|&t| t < limit) {
            limit = visit(Hit {
                t,
                surface: Surface::Sphere(index),
            });
        }
    }
    let first = leaf.first_triangle as usize;
    for index in first..first + usize::from(leaf.triangles) {
        let met = meet_triangle(&parts.triangles[index], ray);
        if let Some((t, u, v)) = met.filter(|met| met.0 < limit) {
            limit = visit(Hit {
                t,
                surface: Surface::Triangle(index, u, v),
            });
        }
    }
    limit
}

/// Where the ray enters the node's box, if it does before `limit` (slabs, after Kay and Kajiya,
/// 1986). A box around the origin is entered at 0.
#[inline]
fn enter(node: &Node, ray: &Ray, limit: f64) -> Option<f64> {
    let (mut near, mut far) = (0.0, limit);
    slab(
        node.min.x - ray.origin.x,
        node.max.x - ray.origin.x,
        ray.inverse.x,
        &mut near,
        &mut far,
    );
    slab(
        node.min.y - ray.origin.y,
        node.max.y - ray.origin.y,
        ray.inverse.y,
        &mut near,
        &mut far,
    );
    slab(
        node.min.z - ray.origin.z,
        node.max.z - ray.origin.z,
        ray.inverse.z,
        &mut near,
        &mut far,
    );
    // The factor makes up for the rounding of the distances.
    (near <= far * (1.0 + 1e-14)).then_some(near)
}

#[inline]
fn slab(low: f64, high: f64, inverse: f64, near: &mut f64, far: &mut f64) {
    let (a, b) = (low * inverse, high * inverse);
    let (first, last) = if a < b { (a, b) } else { (b, a) };
    // Written as comparisons, because these are single instructions, unlike `f64::max`.
    *near = if first > *near { first } else { *near };
    *far = if last < *far { last } else { *far };
}

/// Distance to the sphere's surface. The discriminant is taken at the point of the ray nearest to
/// the centre, which keeps its precision for small spheres far away.
#[inline]
pub(super) fn meet_sphere(sphere: &Sphere, ray: &Ray) -> Option<f64> {
    let to_centre = sphere.centre - ray.origin;
    let middle = to_centre.dot(ray.direction);
    let miss = to_centre - ray.direction * middle;
    let discriminant = sphere.radius * sphere.radius - miss.dot(miss);
    if discriminant < 0.0 {
        return None;
    }
    let half = discriminant.sqrt();
    let (front, back) = (middle - half, middle + half);
    if front > 0.0 {
        Some(front)
    } else {
        (back > 0.0).then_some(back)
    }
}

/// Distance to the triangle and barycentric coordinates of the second and third corner (Möller and
/// Trumbore, *Fast, minimum storage ray/triangle intersection*, 1997). Both sides count.
#[inline]
pub(super) fn meet_triangle(triangle: &Triangle, ray: &Ray) -> Option<(f64, f64, f64)> {
    let [a, b, c] = triangle.corners;
    let (edge_b, edge_c) = (b - a, c - a);
    let p = ray.direction.cross(edge_c);
    let determinant = edge_b.dot(p);
    if determinant == 0.0 {
        return None;
    }
    let inverse = 1.0 / determinant;
    let s = ray.origin - a;
    let u = s.dot(p) * inverse;
    if !(0.0..=1.0).contains(&u) {
        return None;
    }
    let q = s.cross(edge_b);
    let v = ray.direction.dot(q) * inverse;
    if !(v >= 0.0 && u + v <= 1.0) {
        return None;
    }
    let t = edge_c.dot(q) * inverse;
    (t > 0.0 && t.is_finite()).then_some((t, u, v))
}

/// Distance to the plane. Both sides count.
#[inline]
pub(super) fn meet_plane(plane: &Plane, ray: &Ray) -> Option<f64> {
    let t = (plane.offset - plane.normal.dot(ray.origin)) / plane.normal.dot(ray.direction);
    (t > 0.0 && t.is_finite()).then_some(t)
}

#[cfg(test)]
mod tests;
