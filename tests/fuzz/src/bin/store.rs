//! The fuzz target `store`.

#![no_main]

hilum_fuzz::target!(store);
