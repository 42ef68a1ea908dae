//! The fuzz target `wire`.

#![no_main]

hilum_fuzz::target!(wire);
