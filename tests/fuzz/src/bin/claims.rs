//! The fuzz target `claims`.

#![no_main]

hilum_fuzz::target!(claims);
