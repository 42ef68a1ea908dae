//! The fuzz target `stream`.

#![no_main]

hilum_fuzz::target!(stream);
