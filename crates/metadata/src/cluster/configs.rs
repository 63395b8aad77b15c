//! What operators have set.

use alloc::collections::BTreeMap;
use alloc::string::String;

use ottla_protocol::metadata::config_record::ConfigRecord;

/// What a setting belongs to. The numbers are those of Kafka's `ConfigResource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ResourceKind {
    /// A topic.
    Topic = 2,
    /// A broker, or all of them (the empty name).
    Broker = 4,
    /// What a broker logs; kept nowhere.
    BrokerLogger = 8,
    /// A subscription to clients' metrics.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ResourceKind {
    /// The kind of this number.
    #[must_use]
    pub const fn of(number: i8) -> Option<Self> {
        match number {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            8 => Some(Self::BrokerLogger),
            16 => Some(Self::ClientMetrics),
            32 => Some(Self::Group),
            _ => None,
        }
    }
}

type Values = BTreeMap<String, String>;

static NOTHING: Values = Values::new();

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Configs(BTreeMap<i8, BTreeMap<String, Values>>);

impl Configs {
    pub fn of(&self, kind: ResourceKind, name: &str) -> &Values {
        self.0.get(&(kind as i8)).and_then(|all| all.get(name)).unwrap_or(&NOTHING)
    }

    pub fn names(&self, kind: ResourceKind) -> impl Iterator<Item = &str> {
        self.0.get(&(kind as i8)).into_iter().flat_map(|all| all.keys().map(String::as_str))
    }

    /// Everything: kind, name, values.
    pub fn all(&self) -> impl Iterator<Item = (i8, &String, &Values)> {
        let of = |(kind, all): (&i8, _)| (*kind, all);
        self.0.iter().map(of).flat_map(|(kind, all): (i8, &BTreeMap<String, Values>)| {
            all.iter().map(move |(name, values)| (kind, name, values))
        })
    }

    pub fn set(&mut self, record: &ConfigRecord) {
        let all = self.0.entry(record.resource_type).or_default();
        match &record.value {
            Some(value) => {
                let values = all.entry(record.resource_name.clone()).or_default();
                values.insert(record.name.clone(), value.clone());
            }
            None => {
                if let Some(values) = all.get_mut(&record.resource_name) {
                    values.remove(&record.name);
                    if values.is_empty() {
                        all.remove(&record.resource_name);
                    }
                }
            }
        }
    }

    pub fn forget(&mut self, kind: ResourceKind, name: &str) {
        if let Some(all) = self.0.get_mut(&(kind as i8)) {
            all.remove(name);
        }
    }
}
