//! The fuzz target `blob`.

#![no_main]

hilum_fuzz::target!(blob);
