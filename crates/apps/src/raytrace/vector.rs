//! Vectors of three numbers: points, directions and colours.
//!
//! All arithmetic is in a fixed order and never fused, so results are the same on every machine.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

use plurix::plain;

/// A point, a direction, or a colour (red, green, blue).
#[plain]
#[derive(Debug, PartialEq, Default)]
pub struct Vec3 {
    /// First coordinate, or red.
    pub x: f64,
    /// Second coordinate, or green.
    pub y: f64,
    /// Third coordinate, or blue.
    pub z: f64,
}

/// Shorthand for a vector literal.
pub(super) const fn vec3(x: f64, y: f64, z: f64) -> Vec3 {
    Vec3 { x, y, z }
}

impl Vec3 {
    /// All coordinates `value`.
    #[must_use]
    pub const fn splat(value: f64) -> Self {
        vec3(value, value, value)
    }

    /// The inner product.
    #[must_use]
    pub fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// The vector product.
    #[must_use]
    pub fn cross(self, other: Self) -> Self {
        vec3(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    /// The Euclidean length.
    #[must_use]
    pub fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The vector of length 1 in the same direction, or `None` for one too short (or not finite) to
    /// have a direction.
    #[must_use]
    pub fn unit(self) -> Option<Self> {
        let length = self.length();
        (length > 1e-150 && length.is_finite()).then(|| self * (1.0 / length))
    }

    /// The smaller of each pair of coordinates.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        vec3(
            self.x.min(other.x),
            self.y.min(other.y),
            self.z.min(other.z),
        )
    }

    /// The larger of each pair of coordinates.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        vec3(
            self.x.max(other.x),
            self.y.max(other.y),
            self.z.max(other.z),
        )
    }

    /// The products of corresponding coordinates: light of one colour on a surface of another.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        vec3(self.x * other.x, self.y * other.y, self.z * other.z)
    }

    /// The coordinates as an array.
    #[must_use]
    pub const fn array(self) -> [f64; 3] {
        [self.x, self.y, self.z]
    }

    /// The largest magnitude of a coordinate.
    #[must_use]
    pub fn magnitude(self) -> f64 {
        self.x.abs().max(self.y.abs()).max(self.z.abs())
    }

    /// Whether every coordinate satisfies `rule`.
    pub(super) fn all(self, rule: impl Fn(f64) -> bool) -> bool {
        self.array().into_iter().all(rule)
    }
}

impl Add for Vec3 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        vec3(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl AddAssign for Vec3 {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Vec3 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        vec3(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul<f64> for Vec3 {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        vec3(self.x * factor, self.y * factor, self.z * factor)
    }
}

impl Neg for Vec3 {
    type Output = Self;
    fn neg(self) -> Self {
        vec3(-self.x, -self.y, -self.z)
    }
}
