//! KRaft: election, voters, commit point of the metadata quorum.
