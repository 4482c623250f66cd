//! Numbers out of bytes, as long as there are any; zeros afterwards.

pub struct Numbers<'b>(pub &'b [u8]);

impl Numbers<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u32) -> u32 {
        let number = u32::from_be_bytes([0, self.byte(), self.byte(), self.byte()]);
        number % bound
    }
}
