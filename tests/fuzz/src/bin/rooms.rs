//! The fuzz target `rooms`.

#![no_main]

hilum_fuzz::target!(rooms);
