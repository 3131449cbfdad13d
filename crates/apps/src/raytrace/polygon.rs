//! Cuts polygons into triangles by clipping ears (Meisters, *Polygons have ears*, 1975), because
//! both file formats allow polygons that are not convex.

use super::vector::Vec3;

/// The most corners of a polygon; ear clipping takes quadratic time.
pub(super) const CORNERS_MAX: usize = 4096;

/// The triangles of the simple, plane polygon with these corners, as indices of corners, with the
/// polygon's orientation. A polygon without area has none; one that crosses itself gets triangles
/// that cover it somehow.
pub(super) fn triangulate(corners: &[Vec3]) -> Vec<[usize; 3]> {
    let Some(flat) = project(corners) else {
        return Vec::new();
    };
    let mut rest: Vec<usize> = (0..corners.len()).collect();
    let mut triangles = Vec::with_capacity(corners.len() - 2);
    let mut start = 0;
    while rest.len() > 3 {
        let count = rest.len();
        let candidates = (0..count).map(|step| (start + step) % count);
        // Rounding may hide the last ears of a polygon; clipping any corner still ends.
        let ear = candidates
            .clone()
            .find(|&at| is_ear(&flat, &rest, at))
            .unwrap_or(start % count);
        triangles.push(around(&rest, ear));
        rest.remove(ear);
        start = ear;
    }
    triangles.extend((rest.len() == 3).then(|| [rest[0], rest[1], rest[2]]));
    triangles
}

/// The corners seen against the polygon's normal along an axis, so that they go counterclockwise;
/// `None` if the polygon has no area.
fn project(corners: &[Vec3]) -> Option<Vec<[f64; 2]>> {
    let normal = area_vector(corners).unit()?.array();
    let axis = (0..3).max_by(|&a, &b| normal[a].abs().total_cmp(&normal[b].abs()))?;
    let (mut u, mut v) = ((axis + 1) % 3, (axis + 2) % 3);
    if normal[axis] < 0.0 {
        (u, v) = (v, u);
    }
    Some(
        corners
            .iter()
            .map(|corner| [corner.array()[u], corner.array()[v]])
            .collect(),
    )
}

/// Twice the polygon's area, in the direction of its normal (Newell's formula).
fn area_vector(corners: &[Vec3]) -> Vec3 {
    let Some(&origin) = corners.first() else {
        return Vec3::default();
    };
    corners.windows(2).fold(Vec3::default(), |sum, edge| {
        sum + (edge[0] - origin).cross(edge[1] - origin)
    })
}

fn around(rest: &[usize], at: usize) -> [usize; 3] {
    [
        rest[(at + rest.len() - 1) % rest.len()],
        rest[at],
        rest[(at + 1) % rest.len()],
    ]
}

/// Whether the corner at `at` is convex and no other corner lies in the triangle that it would cut
/// off.
fn is_ear(flat: &[[f64; 2]], rest: &[usize], at: usize) -> bool {
    let triangle = around(rest, at);
    let [a, b, c] = triangle.map(|corner| flat[corner]);
    turn(a, b, c) > 0.0
        && rest
            .iter()
            .filter(|corner| !triangle.contains(corner))
            .all(|&corner| {
                let p = flat[corner];
                let is_corner = p == a || p == b || p == c;
                let is_inside =
                    turn(a, b, p) >= 0.0 && turn(b, c, p) >= 0.0 && turn(c, a, p) >= 0.0;
                is_corner || !is_inside
            })
}

/// Positive if the way from `a` by `b` to `c` turns left.
fn turn(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> f64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

#[cfg(test)]
mod tests {
    use super::super::vector::vec3;
    use super::*;

    fn area(corners: &[Vec3], triangles: &[[usize; 3]]) -> f64 {
        let areas = triangles
            .iter()
            .map(|t| area_vector(&t.map(|i| corners[i])).length() / 2.0);
        areas.sum()
    }

    #[test]
    fn concave_polygons_are_covered_exactly_in_any_orientation() {
        // An arrow head and a comb, each with more area if cut as a fan.
        let outlines: [(&[[f64; 2]], f64); 2] = [
            (&[[0.0, 0.0], [2.0, 1.0], [0.0, 2.0], [1.0, 1.0]], 1.0),
            (
                &[
                    [0.0, 0.0],
                    [5.0, 0.0],
                    [5.0, 3.0],
                    [4.0, 3.0],
                    [4.0, 1.0],
                    [3.0, 1.0],
                    [3.0, 3.0],
                    [2.0, 3.0],
                    [2.0, 1.0],
                    [1.0, 1.0],
                    [1.0, 3.0],
                    [0.0, 3.0],
                ],
                11.0,
            ),
        ];
        for (outline, expected) in outlines {
            for place in [
                |[u, v]: [f64; 2]| vec3(u, v, 7.0),
                |[u, v]: [f64; 2]| vec3(v, u, -7.0),
                |[u, v]: [f64; 2]| vec3(1.0, u, v),
                |[u, v]: [f64; 2]| vec3(u, 3.0, v),
            ] {
                let corners: Vec<Vec3> = outline.iter().map(|&point| place(point)).collect();
                let triangles = triangulate(&corners);
                assert_eq!(triangles.len(), corners.len() - 2);
                assert!((area(&corners, &triangles) - expected).abs() < 1e-12);
                let normal = area_vector(&corners);
                for triangle in triangles {
                    assert!(area_vector(&triangle.map(|i| corners[i])).dot(normal) > 0.0);
                }
            }
        }
    }

    #[test]
    fn polygons_without_area_have_no_triangles() {
        let line: Vec<Vec3> = (0..5).map(|i| vec3(f64::from(i), 0.0, 0.0)).collect();
        for corners in [&line[..], &line[..2], &[], &[vec3(f64::NAN, 0.0, 0.0); 4]] {
            assert!(triangulate(corners).is_empty());
        }
    }

    #[test]
    fn a_polygon_that_crosses_itself_ends() {
        let star: Vec<Vec3> = (0..101)
            .map(|i| std::f64::consts::TAU * f64::from(i * 40 % 101) / 101.0)
            .map(|angle| vec3(libm::cos(angle), libm::sin(angle), 0.0))
            .collect();
        assert_eq!(triangulate(&star).len(), 99);
    }
}
