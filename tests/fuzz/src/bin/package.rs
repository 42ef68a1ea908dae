//! The fuzz target `package`.

#![no_main]

hilum_fuzz::target!(package);
