//! The fuzz target `fields`.

#![no_main]

hilum_fuzz::target!(fields);
