//! De-identifies X12.

use crate::{Config, Pseudonyms, Refusal};

/// De-identifies one body.
///
/// # Errors
/// Everything it cannot parse is refused.
pub fn deidentify(_input: &[u8], _config: &Config, _keys: &dyn Pseudonyms) -> Result<Vec<u8>, Refusal> {
    Err(Refusal::new("unsupported-content-type", "X12 cannot be de-identified yet"))
}
