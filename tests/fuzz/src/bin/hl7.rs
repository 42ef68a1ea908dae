//! The fuzz target `hl7`.

#![no_main]

hilum_fuzz::target!(hl7);
