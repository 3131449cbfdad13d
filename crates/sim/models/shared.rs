//! Parts of a state that most steps leave alone: copied when they are changed, hashed when they
//! were.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A part of a state, shared with the states that it is the same in.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    value: Arc<T>,
    /// Of the value, unless it has been changed since.
    fingerprint: Option<u64>,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            fingerprint: self.fingerprint,
        }
    }
}

impl<T: Clone + Hash> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Arc::new(value),
            fingerprint: None,
        }
    }

    pub(crate) fn get(&self) -> &T {
        &self.value
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.fingerprint = None;
        Arc::make_mut(&mut self.value)
    }

    /// Computes the fingerprint, so that it is there whenever the state is looked up.
    pub(crate) fn seal(&mut self) {
        self.fingerprint.get_or_insert_with(|| {
            let mut hasher = DefaultHasher::new();
            self.value.hash(&mut hasher);
            hasher.finish()
        });
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.expect("sealed at the end of every step")
    }
}
