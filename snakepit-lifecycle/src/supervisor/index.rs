//! The numbers that living workers bear. A worker that died leaves its number to its replacement; one
//! that starts beside the worker it replaces gets its own. Invariant: no two living workers bear the
//! same number, and no two workers ever the same number and incarnation.

/// Hands out numbers, the smallest free one first, so all are below the most workers that ever lived
/// at a time.
#[derive(Debug, Default)]
pub(super) struct Indices {
    indices: Vec<Index>,
    /// How many workers are taken to have borne a number before it was first handed out.
    borne_before: u64,
}

#[derive(Debug, Default)]
struct Index {
    taken: bool,
    /// How many workers have borne it.
    borne: u64,
}

impl Indices {
    /// For a pool that had predecessors of its name.
    pub(super) fn after(borne_before: u64) -> Self {
        Self { indices: Vec::new(), borne_before }
    }

    /// More than any incarnation that was handed out.
    pub(super) fn borne(&self) -> u64 {
        self.indices.iter().map(|index| index.borne).max().unwrap_or(self.borne_before)
    }

    /// A number and how many workers bore it before.
    pub(super) fn take(&mut self) -> (usize, u64) {
        let free = self.indices.iter().position(|index| !index.taken);
        let free = free.unwrap_or(self.indices.len());
        if free == self.indices.len() {
            self.indices.push(Index { taken: false, borne: self.borne_before });
        }
        let index = &mut self.indices[free];
        index.taken = true;
        let incarnation = index.borne;
        index.borne += 1;
        (free, incarnation)
    }

    pub(super) fn give_back(&mut self, index: usize) {
        if let Some(index) = self.indices.get_mut(index) {
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

    #[test]
    fn a_successor_hands_out_no_pair_again() {
        let mut indices = Indices::default();
        assert_eq!([indices.take(), indices.take()], [(0, 0), (1, 0)]);
        indices.give_back(0);
        assert_eq!(indices.take(), (0, 1));
        let mut next = Indices::after(indices.borne());
        assert_eq!([next.take(), next.take(), next.take()], [(0, 2), (1, 2), (2, 2)]);
        assert_eq!(Indices::after(7).borne(), 7);
    }
}
