//! The names that Apache's tools print for what a broker refuses: classes of the Java client.

use ottla_types::ErrorCode;

/// The classes that are not called as their error codes are.
const IRREGULAR: [(&str, &str); 18] = [
    ("UNKNOWN_SERVER_ERROR", "UnknownServerException"),
    ("CORRUPT_MESSAGE", "CorruptRecordException"),
    ("REQUEST_TIMED_OUT", "TimeoutException"),
    ("MESSAGE_TOO_LARGE", "RecordTooLargeException"),
    ("STALE_CONTROLLER_EPOCH", "ControllerMovedException"),
    ("OFFSET_METADATA_TOO_LARGE", "OffsetMetadataTooLarge"),
    ("RECORD_LIST_TOO_LARGE", "RecordBatchTooLargeException"),
    ("TOPIC_ALREADY_EXISTS", "TopicExistsException"),
    ("FEATURE_UPDATE_FAILED", "FeatureUpdateFailedException"),
    ("INVALID_CONFIG", "InvalidConfigurationException"),
    ("OUT_OF_ORDER_SEQUENCE_NUMBER", "OutOfOrderSequenceException"),
    ("DUPLICATE_SEQUENCE_NUMBER", "DuplicateSequenceException"),
    ("INVALID_PRODUCER_ID_MAPPING", "InvalidPidMappingException"),
    ("INVALID_TRANSACTION_TIMEOUT", "InvalidTxnTimeoutException"),
    ("DELEGATION_TOKEN_AUTH_DISABLED", "DelegationTokenDisabledException"),
    ("DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", "UnsupportedByAuthenticationException"),
    ("NON_EMPTY_GROUP", "GroupNotEmptyException"),
    ("INVALID_REGULAR_EXPRESSION", "InvalidRegularExpression"),
];

/// An error as Java prints an exception: its class, and what it says.
pub fn exception(code: ErrorCode, message: Option<&str>) -> String {
    let message = message.filter(|it| !it.is_empty()).unwrap_or_else(|| code.message());
    format!("{}: {message}", class_of(code))
}

/// The class that stands for an error code.
pub fn class_of(code: ErrorCode) -> String {
    format!("org.apache.kafka.common.errors.{}", class(code.name()))
}

/// The class of an error code's name, without its package.
fn class(name: &str) -> String {
    if let Some((_, class)) = IRREGULAR.iter().find(|(it, _)| *it == name) {
        return (*class).to_owned();
    }
    let mut stem = name;
    for end in ["_EXCEPTION", "_FAILED", "_FAILURE", "_ERROR"] {
        stem = stem.strip_suffix(end).unwrap_or(stem);
    }
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{first}{}", rest.to_lowercase())
    };
    let camel: String = stem.split('_').map(word).collect();
    format!("{camel}Exception")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_called_as_in_the_java_client() {
        for (code, class) in [
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "UnknownTopicOrPartitionException"),
            (ErrorCode::OFFSET_OUT_OF_RANGE, "OffsetOutOfRangeException"),
            (ErrorCode::GROUP_ID_NOT_FOUND, "GroupIdNotFoundException"),
            (ErrorCode::NON_EMPTY_GROUP, "GroupNotEmptyException"),
            (ErrorCode::KAFKA_STORAGE_ERROR, "KafkaStorageException"),
            (ErrorCode::INVALID_TOPIC_EXCEPTION, "InvalidTopicException"),
            (ErrorCode::POLICY_VIOLATION, "PolicyViolationException"),
            (ErrorCode::CLUSTER_AUTHORIZATION_FAILED, "ClusterAuthorizationException"),
        ] {
            let right = format!("org.apache.kafka.common.errors.{class}: why");
            assert_eq!(exception(code, Some("why")), right);
        }
    }
}
