//! The sandbox against real components, well-behaved and hostile.

mod bodies;
mod hostile;
mod load;
mod support;
mod worlds;
