//! Nothing: the three plugins are the examples of this package, because a package has one `cdylib` only.
