//! Dispatch, handlers, hosts of the machines, settings.
