//! The fuzz target `filter`.

#![no_main]

hilum_fuzz::target!(filter);
