//! Producer, consumer, admin: the way in from outside.
