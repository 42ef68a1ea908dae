//! The fuzz target `objects`.

#![no_main]

hilum_fuzz::target!(objects);
