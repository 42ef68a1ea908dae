//! The fuzz target `relationships`.

#![no_main]

hilum_fuzz::target!(relationships);
