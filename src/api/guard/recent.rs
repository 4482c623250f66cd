//! What is remembered of so many, whoever comes: the oldest are forgotten first.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Values by key. Those that were not asked for while half as many others were may be gone.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: FxHashMap<K, V>,
    old: FxHashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Remembers so many at most; more than one.
    pub(super) fn new(most: usize) -> Recent<K, V> {
        Recent { young: FxHashMap::default(), old: FxHashMap::default(), half: most / 2 }
    }

    /// What is remembered of a key.
    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.make_room();
            self.young.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// The same, beginning with a value where nothing is.
    pub(super) fn get_or(&mut self, key: K, begin: impl FnOnce() -> V) -> &mut V {
        if self.get(&key).is_none() {
            self.make_room();
        }
        self.young.entry(key).or_insert_with(begin)
    }

    fn make_room(&mut self) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_is_asked_for_and_forgets_the_oldest() {
        let mut recent = Recent::new(100);
        *recent.get_or("kept".to_owned(), || 0) = 7;
        for number in 0..1_000 {
            recent.get_or(number.to_string(), || 1);
            assert_eq!(recent.get(&"kept".to_owned()).copied(), Some(7), "{number}");
            assert!(recent.len() <= 100, "{}", recent.len());
        }
        assert!(recent.get(&"0".to_owned()).is_none());
        assert!(recent.get(&"999".to_owned()).is_some());
    }
}
