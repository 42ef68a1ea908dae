//! The fuzz target `fhir`.

#![no_main]

hilum_fuzz::target!(fhir);
