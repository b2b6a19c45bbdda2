//! Warpring.
