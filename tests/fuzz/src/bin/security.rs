//! The fuzz target `security`.

#![no_main]

hilum_fuzz::target!(security);
