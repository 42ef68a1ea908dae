//! The two sides of uploads and downloads: frames to begin or to answer with, and raw octets between.
//!
//! Both go on after a break. What has to outlive a stream for that is a value of its own: [`Outgoing`] on the sending side of
//! an upload, [`Partial`] on the receiving side of a download. Each keeps the running digest, so that no octet is hashed or
//! sent twice but for those that were on their way when the stream broke.

mod download;
mod upload;

pub use download::{DownloadClient, DownloadEvent, DownloadServer, Partial};
pub use upload::{Outgoing, UploadClient, UploadServer};
