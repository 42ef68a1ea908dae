//! The fuzz target `config`.

#![no_main]

hilum_fuzz::target!(config);
