//! Garden: tidy checks, the law test.
