//! The fuzz target `session`.

#![no_main]

hilum_fuzz::target!(session);
