//! The fuzz target `route`.

#![no_main]

hilum_fuzz::target!(route);
