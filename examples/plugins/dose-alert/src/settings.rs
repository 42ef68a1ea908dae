//! The configuration: reference levels of procedures, and levels of what adds up.

use hilum_plugin::ConfigError;
use serde::Deserialize;

/// Reference levels.
const LEVELS_MAX: usize = 256;
/// Levels of sums: what one report crosses has to fit one call's emissions.
const CUMULATIVE_MAX: usize = 32;
/// Ten years.
const DAYS_MAX: u32 = 3660;

/// The configuration, as `settings.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where alerts go; the stage needs the grant `emit:FLOW`.
    pub alerts_flow: String,
    /// The secret of the pseudonyms; the stage needs the grant `keys:NAME`.
    pub key: String,
    /// Reference levels. Each quantity is compared by the first that is for the procedure.
    #[serde(default)]
    pub levels: Vec<Level>,
    /// Levels of what a patient receives within some days.
    #[serde(default)]
    pub cumulative: Vec<Cumulative>,
}

/// The reference level of a procedure.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Appears in alerts.
    pub name: String,
    /// For which procedures; without conditions for all.
    #[serde(default)]
    pub when: When,
    /// What is compared.
    pub quantity: Quantity,
    /// In the quantity's unit.
    pub limit: f64,
}

/// Conditions on the procedure: each that is given must hold, and holds if any of its values does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// `SCHEME:VALUE` of Procedure Code Sequence (0008,1032), e.g. `C4:70450`.
    pub procedures: Option<Vec<String>>,
    /// Words in Study Description (0008,1030), whatever their case.
    pub descriptions: Option<Vec<String>>,
}

/// A level of what adds up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cumulative {
    /// Appears in alerts.
    pub name: String,
    /// What is added up; an index of one acquisition cannot be.
    pub quantity: Quantity,
    /// In the quantity's unit.
    pub limit: f64,
    /// Within how many days.
    pub days: u32,
}

/// A dose quantity with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Mean CTDIvol of an acquisition, mGy: the greatest of the examination.
    CtdiVol,
    /// Dose length product of a CT examination, mGy.cm.
    Dlp,
    /// Dose area product, Gy.cm2.
    Dap,
    /// Dose at the reference point, mGy.
    ReferencePoint,
}

impl Quantity {
    pub(crate) const ALL: [Self; 4] = [Self::CtdiVol, Self::Dlp, Self::Dap, Self::ReferencePoint];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CtdiVol => "ctdi-vol",
            Self::Dlp => "dlp",
            Self::Dap => "dap",
            Self::ReferencePoint => "reference-point",
        }
    }

    /// As UCUM writes it.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::CtdiVol | Self::ReferencePoint => "mGy",
            Self::Dlp => "mGy.cm",
            Self::Dap => "Gy.cm2",
        }
    }

    /// What a value in some unit (UCUM) is multiplied with.
    pub(crate) fn factor(self, unit: &str) -> Option<f64> {
        match (self, unit) {
            (Self::CtdiVol | Self::ReferencePoint, "mGy") | (Self::Dlp, "mGy.cm") | (Self::Dap, "Gy.cm2") => {
                Some(1.0)
            }
            (Self::CtdiVol | Self::ReferencePoint, "Gy") => Some(1000.0),
            (Self::Dap, "Gy.m2") => Some(10_000.0),
            (Self::Dap, "dGy.cm2") => Some(0.1),
            (Self::Dap, "cGy.cm2" | "uGy.m2") => Some(0.01),
            (Self::Dap, "mGy.cm2") => Some(0.001),
            _ => None,
        }
    }
}

impl Settings {
    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (at, text) in [("/alerts_flow", &self.alerts_flow), ("/key", &self.key)] {
            if text.is_empty() {
                return Err(ConfigError::new(at, "must not be empty"));
            }
        }
        if self.levels.is_empty() && self.cumulative.is_empty() {
            return Err(ConfigError::new(
                "",
                "give `levels`, `cumulative` or both: without, nothing is ever told",
            ));
        }
        for (at, count, max) in [
            ("/levels", self.levels.len(), LEVELS_MAX),
            ("/cumulative", self.cumulative.len(), CUMULATIVE_MAX),
        ] {
            if count > max {
                return Err(ConfigError::new(at, format!("give at most {max} levels")));
            }
        }
        let levels =
            self.levels.iter().map(|level| level.limit).enumerate().map(|(n, limit)| ("levels", n, limit));
        let sums = self.cumulative.iter().map(|level| level.limit).enumerate();
        let mut limits = levels.chain(sums.map(|(n, limit)| ("cumulative", n, limit)));
        if let Some((list, n, _)) = limits.find(|(_, _, limit)| !(limit.is_finite() && *limit > 0.0)) {
            return Err(ConfigError::new(format!("/{list}/{n}/limit"), "must be more than 0"));
        }
        for (index, level) in self.cumulative.iter().enumerate() {
            let at = format!("/cumulative/{index}");
            if level.quantity == Quantity::CtdiVol {
                return Err(ConfigError::new(
                    format!("{at}/quantity"),
                    "an index does not add up: use `dlp`",
                ));
            }
            if !(1..=DAYS_MAX).contains(&level.days) {
                return Err(ConfigError::new(format!("{at}/days"), format!("give 1 to {DAYS_MAX} days")));
            }
        }
        Ok(())
    }
}
