//! The fuzz target `cose`.

#![no_main]

hilum_fuzz::target!(cose);
