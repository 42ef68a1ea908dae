//! The fuzz target `x12`.

#![no_main]

hilum_fuzz::target!(x12);
