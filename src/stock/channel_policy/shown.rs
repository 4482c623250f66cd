//! What a channel is told of what is available.

/// How much a channel is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i16)]
pub enum Visibility {
    /// How many units.
    #[default]
    Exact = 1,
    /// In which band they lie.
    Band = 2,
}

/// What a channel is told in place of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Band {
    /// Nothing.
    Out = 1,
    /// At least one unit.
    FewLeft = 2,
    /// More than a few.
    InStock = 3,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// How many units; where a band is told, the least number in it.
    pub available: i64,
    /// The band, where that is all that is told.
    pub band: Option<Band>,
}

impl Band {
    /// Its name in the contract, without the prefix.
    pub fn name(self) -> &'static str {
        match self {
            Band::Out => "OUT",
            Band::FewLeft => "FEW_LEFT",
            Band::InStock => "IN_STOCK",
        }
    }
}

impl Shown {
    /// What is told of so many units. Everything that tells a channel a number goes through here.
    pub(super) fn of(available: i64, visibility: Visibility, few_left_max: i64) -> Shown {
        let told = |available, band| Shown { available, band: Some(band) };
        match visibility {
            Visibility::Exact => Shown { available, band: None },
            Visibility::Band if available <= 0 => told(0, Band::Out),
            Visibility::Band if available <= few_left_max => told(1, Band::FewLeft),
            Visibility::Band => told(few_left_max.saturating_add(1), Band::InStock),
        }
    }
}
