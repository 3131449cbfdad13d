//! Builds the bounding-volume hierarchy: a binary tree of boxes over spheres and triangles, split
//! where the surface area heuristic says (binned, after Wald, *On fast construction of SAH-based
//! bounding volume hierarchies*, 2007), and flattened in preorder.

use super::scene::{ITEMS_MAX, Node, Sphere, TREE_DEPTH_MAX, Triangle};
use super::vector::Vec3;

/// Candidate places for a split along an axis.
const BINS: usize = 16;
/// The most primitives of a leaf, unless the heuristic is spent.
const LEAF_MAX: usize = 4;
/// Cost of visiting a node, in units of testing a primitive.
const NODE_COST: f64 = 1.0;
/// From this depth on, splits halve the count, so that the depth stays bounded whatever the scene.
const HALVE_DEPTH: usize = TREE_DEPTH_MAX - (2 * ITEMS_MAX).ilog2() as usize - 1;

type Bounds = (Vec3, Vec3);

/// One sphere or triangle that looks for its leaf.
#[derive(Clone, Copy)]
struct Item {
    bounds: Bounds,
    centre: Vec3,
    is_sphere: bool,
    index: u32,
}

/// Builds the tree of all `spheres` and `triangles`, and sorts them into the order of its leaves.
/// Their number is at most [`ITEMS_MAX`] each.
pub(super) fn build(spheres: &mut Vec<Sphere>, triangles: &mut Vec<Triangle>) -> Vec<Node> {
    let sphere_items = spheres
        .iter()
        .enumerate()
        .map(|(i, s)| item(sphere_bounds(s), true, i));
    let triangle_items = triangles
        .iter()
        .enumerate()
        .map(|(i, t)| item(triangle_bounds(t), false, i));
    let mut items: Vec<Item> = sphere_items.chain(triangle_items).collect();
    if items.is_empty() {
        return Vec::new();
    }
    let mut tree = Tree {
        nodes: Vec::new(),
        from: (spheres, triangles),
        spheres: Vec::with_capacity(spheres.len()),
        triangles: Vec::with_capacity(triangles.len()),
    };
    tree.grow(&mut items, 0);
    let Tree {
        nodes,
        spheres: sorted_spheres,
        triangles: sorted_triangles,
        ..
    } = tree;
    *spheres = sorted_spheres;
    *triangles = sorted_triangles;
    nodes
}

/// Least and greatest coordinates of a sphere.
pub(super) fn sphere_bounds(sphere: &Sphere) -> Bounds {
    let reach = Vec3::splat(sphere.radius);
    (sphere.centre - reach, sphere.centre + reach)
}

/// Least and greatest coordinates of a triangle.
pub(super) fn triangle_bounds(triangle: &Triangle) -> Bounds {
    let [a, b, c] = triangle.corners;
    (a.min(b).min(c), a.max(b).max(c))
}

fn item(bounds: Bounds, is_sphere: bool, index: usize) -> Item {
    let centre = (bounds.0 + bounds.1) * 0.5;
    Item {
        bounds,
        centre,
        is_sphere,
        index: index as u32,
    }
}

struct Tree<'a> {
    nodes: Vec<Node>,
    from: (&'a [Sphere], &'a [Triangle]),
    spheres: Vec<Sphere>,
    triangles: Vec<Triangle>,
}

impl Tree<'_> {
    /// Appends the subtree of `items`, which are at least one.
    fn grow(&mut self, items: &mut [Item], depth: usize) {
        let bounds = union(items.iter().map(|item| item.bounds));
        // Rounding must not let a ray pass between a box and what touches its side.
        let margin = Vec3::splat((bounds.0.magnitude() + bounds.1.magnitude()) * 1e-14);
        let at = self.nodes.len();
        self.nodes.push(Node {
            min: bounds.0 - margin,
            max: bounds.1 + margin,
            right: 0,
            first_sphere: self.spheres.len() as u32,
            first_triangle: self.triangles.len() as u32,
            spheres: 0,
            triangles: 0,
        });
        match split(items, bounds, depth) {
            Some(middle) => {
                let (left, right) = items.split_at_mut(middle);
                self.grow(left, depth + 1);
                self.nodes[at].right = self.nodes.len() as u32;
                self.grow(right, depth + 1);
            }
            None => self.fill(at, items),
        }
    }

    fn fill(&mut self, leaf: usize, items: &[Item]) {
        assert!(items.len() <= LEAF_MAX, "a leaf's counts are small numbers");
        for item in items {
            if item.is_sphere {
                self.spheres.push(self.from.0[item.index as usize]);
                self.nodes[leaf].spheres += 1;
            } else {
                self.triangles.push(self.from.1[item.index as usize]);
                self.nodes[leaf].triangles += 1;
            }
        }
    }
}

/// Sorts `items` into those of the left and of the right child; answers how many go left, or `None`
/// if they make a leaf.
fn split(items: &mut [Item], bounds: Bounds, depth: usize) -> Option<usize> {
    if items.len() == 1 {
        return None;
    }
    let centres = union(items.iter().map(|item| (item.centre, item.centre)));
    let extent = (centres.1 - centres.0).array();
    let axis = (0..3).max_by(|&a, &b| extent[a].total_cmp(&extent[b]))?;
    if depth < HALVE_DEPTH && extent[axis] > 0.0 {
        let bins = Bins {
            axis,
            start: centres.0.array()[axis],
            extent: extent[axis],
        };
        let (boundary, cost) = bins.best_split(items);
        let split_cost = NODE_COST + cost / half_area(bounds);
        if items.len() <= LEAF_MAX && items.len() as f64 <= split_cost {
            return None;
        }
        let middle = partition(items, |item| bins.bin(item) < boundary);
        if middle > 0 && middle < items.len() {
            return Some(middle);
        }
    }
    if items.len() <= LEAF_MAX {
        return None;
    }
    let middle = items.len() / 2;
    items.select_nth_unstable_by(middle, |a, b| {
        let place = |item: &Item| item.centre.array()[axis];
        place(a).total_cmp(&place(b)).then(a.index.cmp(&b.index))
    });
    Some(middle)
}

/// Equal slices of an axis, into which items fall by their centres.
struct Bins {
    axis: usize,
    start: f64,
    extent: f64,
}

impl Bins {
    fn bin(&self, item: &Item) -> usize {
        let place = (item.centre.array()[self.axis] - self.start) / self.extent;
        ((place * BINS as f64) as usize).min(BINS - 1)
    }

    /// The first bin of the right child, and the children's counts weighted by their areas.
    fn best_split(&self, items: &[Item]) -> (usize, f64) {
        let mut bins: [(usize, Option<Bounds>); BINS] = [(0, None); BINS];
        for item in items {
            let (count, bounds) = &mut bins[self.bin(item)];
            *count += 1;
            *bounds = Some(bounds.map_or(item.bounds, |all| join(all, item.bounds)));
        }
        let left = costs(bins.iter());
        let mut right = costs(bins.iter().rev());
        right.reverse();
        let cost = |boundary: usize| left[boundary - 1] + right[boundary];
        let best = (1..BINS)
            .min_by(|&a, &b| cost(a).total_cmp(&cost(b)))
            .unwrap_or(1);
        (best, cost(best))
    }
}

/// Count times area of the first bin, the first two, and so on.
fn costs<'a>(bins: impl Iterator<Item = &'a (usize, Option<Bounds>)>) -> Vec<f64> {
    let (mut count, mut bounds) = (0, None);
    bins.map(|&(more, others)| {
        count += more;
        bounds = match (bounds, others) {
            (Some(a), Some(b)) => Some(join(a, b)),
            (a, b) => a.or(b),
        };
        bounds.map_or(0.0, |bounds| count as f64 * half_area(bounds))
    })
    .collect()
}

/// Moves the items that are to go left before the others, in linear time and a fixed order.
fn partition(items: &mut [Item], goes_left: impl Fn(&Item) -> bool) -> usize {
    let mut middle = 0;
    for at in 0..items.len() {
        if goes_left(&items[at]) {
            items.swap(at, middle);
            middle += 1;
        }
    }
    middle
}

fn join(a: Bounds, b: Bounds) -> Bounds {
    (a.0.min(b.0), a.1.max(b.1))
}

fn union(mut all: impl Iterator<Item = Bounds>) -> Bounds {
    let first = all.next().expect("a node holds at least one item");
    all.fold(first, join)
}

fn half_area(bounds: Bounds) -> f64 {
    let size = bounds.1 - bounds.0;
    size.x * size.y + size.y * size.z + size.z * size.x
}

#[cfg(test)]
mod tests {
    use super::super::scene::Camera;
    use super::super::vector::vec3;
    use super::super::{SceneBuilder, SceneView};
    use super::*;

    fn check(builder: SceneBuilder) -> usize {
        let scene = builder.build().unwrap();
        SceneView::check(scene.parts()).unwrap();
        scene.parts().nodes.len()
    }

    #[test]
    fn coinciding_items_still_make_a_tree() {
        let mut builder = SceneBuilder::new(Camera::default(), Vec3::default());
        for _ in 0..1000 {
            builder.sphere(vec3(1.0, 2.0, 3.0), 0.5);
        }
        assert!(check(builder) > 1000 / LEAF_MAX);
    }

    /// Each coordinate dwarfs all smaller ones, so that every split by area cuts off one item.
    #[test]
    fn lopsided_scenes_stay_within_the_depth() {
        let mut builder = SceneBuilder::new(Camera::default(), Vec3::default());
        for step in 0..3000 {
            let place = libm::pow(10.0, 11.0 - f64::from(step) / 10.0);
            builder.sphere(vec3(place, 0.0, 0.0), place * 1e-3);
        }
        check(builder);
    }

    #[test]
    fn an_empty_scene_has_no_tree() {
        assert_eq!(check(SceneBuilder::default()), 0);
    }
}
