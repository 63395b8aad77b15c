//! What nothing here acts upon yet, but no snapshot may lose: rules of access, quotas,
//! credentials, tokens, controllers.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::client_quota_record::ClientQuotaRecord;
use ottla_protocol::metadata::register_controller_record::RegisterControllerRecord;
use ottla_protocol::metadata::user_scram_credential_record::UserScramCredentialRecord;

/// What a quota is for: parts (`user`, `client-id`, `ip`) by type; a part without a name is the
/// default of its type (KIP-546).
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// Records by what they are about: the later one replaces the earlier.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kept(BTreeMap<(i16, String), MetadataRecord>);

impl Kept {
    pub fn all(&self) -> impl Iterator<Item = &MetadataRecord> {
        self.0.values()
    }

    /// The quotas of clients, those of one entity one after the other.
    pub fn quotas(&self) -> impl Iterator<Item = (QuotaEntity, &ClientQuotaRecord)> {
        self.all().filter_map(|record| match record {
            MetadataRecord::ClientQuota(quota) => Some((quota_entity(quota), quota)),
            _ => None,
        })
    }

    /// The credentials of users, by mechanism and name.
    pub fn credentials(&self) -> impl Iterator<Item = &UserScramCredentialRecord> {
        self.all().filter_map(|record| match record {
            MetadataRecord::UserScramCredential(credential) => Some(credential),
            _ => None,
        })
    }

    /// The controllers that have registered.
    pub fn controllers(&self) -> impl Iterator<Item = &RegisterControllerRecord> {
        self.all().filter_map(|record| match record {
            MetadataRecord::RegisterController(controller) => Some(controller),
            _ => None,
        })
    }

    pub fn apply(&mut self, record: &MetadataRecord) {
        let key = |kind: i16, about: String| (kind, about);
        match record {
            MetadataRecord::AccessControlEntry(it) => {
                self.0.insert(key(18, format!("{}", it.id)), record.clone());
            }
            MetadataRecord::RemoveAccessControlEntry(it) => {
                self.0.remove(&key(18, format!("{}", it.id)));
            }
            MetadataRecord::ClientQuota(it) => {
                let about = key(14, format!("{:?} {}", quota_entity(it), it.key));
                if it.remove {
                    self.0.remove(&about);
                } else {
                    self.0.insert(about, record.clone());
                }
            }
            MetadataRecord::UserScramCredential(it) => {
                self.0.insert(key(11, format!("{} {}", it.mechanism, it.name)), record.clone());
            }
            MetadataRecord::RemoveUserScramCredential(it) => {
                self.0.remove(&key(11, format!("{} {}", it.mechanism, it.name)));
            }
            MetadataRecord::DelegationToken(it) => {
                self.0.insert(key(10, it.token_id.clone()), record.clone());
            }
            MetadataRecord::RemoveDelegationToken(it) => {
                self.0.remove(&key(10, it.token_id.clone()));
            }
            MetadataRecord::RegisterController(it) => {
                self.0.insert(key(27, format!("{}", it.controller_id)), record.clone());
            }
            MetadataRecord::UnregisterController(it) => {
                self.0.remove(&key(27, format!("{}", it.controller_id)));
            }
            // Nothing remains of the others: they mark places in the log.
            _ => {}
        }
    }
}

fn quota_entity(quota: &ClientQuotaRecord) -> QuotaEntity {
    quota.entity.iter().map(|it| (it.entity_type.clone(), it.entity_name.clone())).collect()
}
