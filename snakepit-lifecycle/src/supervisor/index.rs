//! The numbers that living workers bear. A worker that died leaves its number to its replacement; one
//! that starts beside the worker it replaces gets its own. Invariant: no two living workers bear the
//! same number, and no two workers ever the same number and incarnation.

/// Hands out numbers, the smallest free one first, so all are below the most workers that ever lived
/// at a time.
#[derive(Debug, Default)]
pub(super) struct Indices(Vec<Index>);

#[derive(Debug, Default)]
struct Index {
    taken: bool,
    /// How many workers have borne it.
    borne: u64,
}

impl Indices {
    /// A number and how many workers bore it before.
    pub(super) fn take(&mut self) -> (usize, u64) {
        let free = self.0.iter().position(|index| !index.taken).unwrap_or(self.0.len());
        if free == self.0.len() {
            self.0.push(Index::default());
        }
        let index = &mut self.0[free];
        index.taken = true;
        let incarnation = index.borne;
        index.borne += 1;
        (free, incarnation)
    }

    pub(super) fn give_back(&mut self, index: usize) {
        if let Some(index) = self.0.get_mut(index) {
            index.taken = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_free_number_is_taken_and_no_pair_comes_twice() {
        let mut indices = Indices::default();
        assert_eq!([indices.take(), indices.take(), indices.take()], [(0, 0), (1, 0), (2, 0)]);
        indices.give_back(1);
        indices.give_back(0);
        assert_eq!([indices.take(), indices.take(), indices.take()], [(0, 1), (1, 1), (3, 0)]);
        indices.give_back(3);
        assert_eq!(indices.take(), (3, 1));
    }
}
