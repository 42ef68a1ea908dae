//! The fuzz target `entries`.

#![no_main]

hilum_fuzz::target!(entries);
