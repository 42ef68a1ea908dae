//! Records through one stage in the real sandbox, without a broker, and what became of them: what `test` and `replay` share.

pub(crate) mod difference;
pub(crate) mod outcome;
pub(crate) mod records;
pub(crate) mod runner;
