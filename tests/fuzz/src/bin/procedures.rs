//! The fuzz target `procedures`.

#![no_main]

hilum_fuzz::target!(procedures);
