//! The same numbers at every run, to generate cases from.

pub struct Numbers(pub u64);

impl Numbers {
    /// From 0 to `below` - 1.
    pub fn next(&mut self, below: usize) -> usize {
        // Knuth's MMIX constants; the upper bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.next(count) == 0
    }

    pub fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.next(values.len())]
    }

    /// Some of the names, in any order, now and then one twice.
    pub fn members(&mut self, names: &[String]) -> String {
        let count = self.next(5);
        (0..count).map(|_| self.of(names).clone()).collect::<Vec<_>>().join(",")
    }
}
