//! SCRAM credentials: the keys of a password (RFC 5802), and those with which a cluster begins
//! (`kafka-storage format --add-scram`, KIP-900).

use std::collections::BTreeMap;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use ottla_clock::Clock;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::user_scram_credential_record::UserScramCredentialRecord;
use sha2::{Digest, Sha256, Sha512};

use crate::audit::SCRAM_SHA_512;

/// SCRAM-SHA-256, by Kafka's number.
const SCRAM_SHA_256: i8 = 1;
/// How often a password is hashed if nothing else is said, and at least.
const ITERATIONS_MIN: i32 = 4096;
/// How often a password may be hashed at most.
const ITERATIONS_MAX: i32 = 16_384;

/// What is stored of a salted password, so that it can be checked and not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramKeys {
    /// With which the broker checks what the client proves.
    pub stored: Vec<u8>,
    /// With which the broker proves that it knows the client.
    pub server: Vec<u8>,
}

impl ScramKeys {
    /// The stored key and the server key (RFC 5802, section 3) of a salted password.
    pub fn of_salted(mechanism: i8, salted: &[u8]) -> Self {
        if mechanism == SCRAM_SHA_512 {
            Self::derive::<Sha512, Hmac<Sha512>>(salted)
        } else {
            Self::derive::<Sha256, Hmac<Sha256>>(salted)
        }
    }

    fn derive<D: Digest, M: Mac + KeyInit>(salted: &[u8]) -> Self {
        let mac = |text: &[u8]| {
            // It takes keys of any length.
            let mac = <M as KeyInit>::new_from_slice(salted).ok();
            mac.map_or_else(Vec::new, |it| it.chain_update(text).finalize().into_bytes().to_vec())
        };
        Self { stored: D::digest(mac(b"Client Key")).to_vec(), server: mac(b"Server Key") }
    }
}

/// The record of a credential that is given as Apache Kafka's tool takes it:
/// `SCRAM-SHA-256=[name=alice,password=alice-secret]`, with `iterations=N` and `salt="BASE64"`, or
/// with `saltedpassword="BASE64"` in the place of the password.
///
/// # Errors
/// What is wrong with it; never with the password in it.
pub fn credential_record(text: &str, clock: &Clock) -> Result<MetadataRecord, String> {
    let (mechanism, rest) = text.trim().split_once('=').ok_or(
        "there is no = in it; it must be like SCRAM-SHA-256=[name=alice,password=alice-secret]",
    )?;
    let (number, name) = match mechanism {
        "SCRAM-SHA-256" => (SCRAM_SHA_256, mechanism),
        "SCRAM-SHA-512" => (SCRAM_SHA_512, mechanism),
        other => {
            return Err(format!("mechanism {other} is unknown; SCRAM-SHA-256 or SCRAM-SHA-512"));
        }
    };
    let inner = rest.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("what follows {name}= must stand in [ and ]"))?;
    let mut given = read_components(inner)?;
    let user = given.remove("name").ok_or("name= is missing")?;
    if user.is_empty() {
        return Err("name= is empty".to_owned());
    }
    let iterations = match given.remove("iterations") {
        None => ITERATIONS_MIN,
        Some(text) => text.parse().map_err(|_| format!("iterations={text} is not a number"))?,
    };
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
        return Err(format!(
            "iterations={iterations}: {name} takes {ITERATIONS_MIN} to {ITERATIONS_MAX}"
        ));
    }
    let salt = given
        .remove("salt")
        .map(|text| decode_base64(&text).ok_or_else(|| format!("salt={text} is not in Base64")));
    let salt = salt.transpose()?;
    let (salt, salted) = match (given.remove("password"), given.remove("saltedpassword")) {
        (Some(password), None) => {
            let salt =
                salt.unwrap_or_else(|| [clock.random_bytes(), clock.random_bytes()].concat());
            let salted = salted_password(number, password.as_bytes(), &salt, iterations);
            (salt, salted)
        }
        (None, Some(text)) => {
            let salted = decode_base64(&text).ok_or("saltedpassword= is not in Base64")?;
            (salt.ok_or("saltedpassword= needs the salt= that it was made with")?, salted)
        }
        _ => return Err("it takes one of password= and saltedpassword=".to_owned()),
    };
    if let Some(unknown) = given.keys().next() {
        return Err(format!(
            "{unknown}= is unknown; name, password, iterations, salt and saltedpassword are known"
        ));
    }
    let keys = ScramKeys::of_salted(number, &salted);
    Ok(UserScramCredentialRecord {
        name: user,
        mechanism: number,
        salt: Bytes::from(salt),
        stored_key: keys.stored.into(),
        server_key: keys.server.into(),
        iterations,
        ..Default::default()
    }
    .into())
}

/// `name=value,...`; a value may stand in quotation marks.
fn read_components(text: &str) -> Result<BTreeMap<String, String>, String> {
    let component = |item: &str| {
        let (name, value) = item.split_once('=').ok_or("a part between commas has no =")?;
        let bare = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        Ok((name.to_owned(), bare.unwrap_or(value).to_owned()))
    };
    text.split(',').map(component).collect()
}

fn salted_password(mechanism: i8, password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
    let rounds = iterations.unsigned_abs();
    if mechanism == SCRAM_SHA_512 {
        pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, rounds).to_vec()
    } else {
        pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, rounds).to_vec()
    }
}

/// Base64 of RFC 4648, section 4; the `=` at the end may be missing.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if digits.len() % 4 == 1 || text.len() - digits.len() > 2 {
        return None;
    }
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xFF).unwrap_or(0));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Result<UserScramCredentialRecord, String> {
        match credential_record(text, &Clock::manual(0))? {
            MetadataRecord::UserScramCredential(it) => Ok(it),
            other => Err(format!("{other:?}")),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_credential_has_the_keys_that_apache_kafka_stores() {
        // The keys of the user of RFC 7677, section 3.
        let found =
            record("SCRAM-SHA-256=[name=user,password=pencil,salt=\"W22ZaJ0SNY7soEsUEjb6gQ==\"]");
        let found = found.unwrap();
        assert_eq!((found.name.as_str(), found.mechanism, found.iterations), ("user", 1, 4096));
        assert_eq!(hex(&found.salt), "5b6d99689d12358eeca04b141236fa81");
        assert_eq!(
            hex(&found.stored_key),
            "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6"
        );
        assert_eq!(
            hex(&found.server_key),
            "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5"
        );
        // The salted password of the same is as good.
        let salted = salted_password(1, b"pencil", &found.salt, 4096);
        assert_eq!(ScramKeys::of_salted(1, &salted).server, found.server_key.to_vec());
        let long = record("SCRAM-SHA-512=[name=a,iterations=8192,salt=N3E=,saltedpassword=YCE=]");
        let long = long.unwrap();
        assert_eq!((long.mechanism, long.iterations, &long.salt[..]), (2, 8192, &b"7q"[..]));
        assert_eq!((long.stored_key.len(), long.server_key.len()), (64, 64));
        let salts = [1, 2].map(|_| record("SCRAM-SHA-256=[name=a,password=b]").unwrap().salt);
        assert_eq!(salts[0].len(), 32);
    }

    #[test]
    fn what_is_no_credential_is_refused_and_no_password_is_repeated() {
        let cases = [
            ("SCRAM-SHA-256", "there is no ="),
            ("SCRAM-SHA-1=[name=a,password=pencil]", "mechanism SCRAM-SHA-1 is unknown"),
            ("SCRAM-SHA-256=name=a,password=pencil", "must stand in ["),
            ("SCRAM-SHA-256=[password=pencil]", "name= is missing"),
            ("SCRAM-SHA-256=[name=,password=pencil]", "name= is empty"),
            ("SCRAM-SHA-256=[name=a]", "one of password="),
            ("SCRAM-SHA-256=[name=a,password=pencil,saltedpassword=YCE=]", "one of password="),
            ("SCRAM-SHA-256=[name=a,saltedpassword=YCE=]", "needs the salt="),
            ("SCRAM-SHA-256=[name=a,password=pencil,salt=*]", "salt=* is not in Base64"),
            ("SCRAM-SHA-256=[name=a,salt=N3E=,saltedpassword=Y]", "is not in Base64"),
            ("SCRAM-SHA-256=[name=a,password=pencil,iterations=4095]", "takes 4096 to 16384"),
            ("SCRAM-SHA-256=[name=a,password=pencil,iterations=16385]", "takes 4096 to 16384"),
            ("SCRAM-SHA-256=[name=a,password=pencil,iterations=x]", "is not a number"),
            ("SCRAM-SHA-256=[name=a,password=pencil,other=1]", "other= is unknown"),
            ("SCRAM-SHA-256=[name=a,pencil]", "has no ="),
        ];
        for (text, why) in cases {
            let refused = record(text).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("pencil"), "{text}: {refused}");
        }
    }

    #[test]
    fn base64_is_read_with_and_without_its_padding() {
        let cases = [
            ("", Some(&b""[..])),
            ("YQ==", Some(b"a")),
            ("YQ", Some(b"a")),
            ("YWI=", Some(b"ab")),
            ("YWJj", Some(b"abc")),
            ("+/+/", Some(&[0xFB, 0xFF, 0xBF])),
            ("Y", None),
            ("YWJj===", None),
            ("Y W=", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(decode_base64(text).as_deref(), wanted, "{text}");
        }
    }
}
