//! The fuzz target `deidentify`.

#![no_main]

hilum_fuzz::target!(deidentify);
