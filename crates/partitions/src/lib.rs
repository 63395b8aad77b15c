//! This node's partitions: own, read, wait.
