//! The fuzz target `keys`.

#![no_main]

hilum_fuzz::target!(keys);
