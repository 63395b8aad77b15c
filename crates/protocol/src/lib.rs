//! Every request, response and stored record, generated from our own schema files.
