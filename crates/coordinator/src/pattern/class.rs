//! Sets of characters: what is in brackets, and the classes that have names.

use alloc::string::String;
use core::fmt::Write;

use super::Alphabet;

/// A set of characters, in two forms.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    /// In the syntax of the `regex` crate, as what may stand in brackets.
    items: String,
    /// Its ASCII part, one bit for each character.
    ascii: u128,
    /// Does a letter stand for its other cases too?
    folds: bool,
}

/// Which characters a class stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClassSide {
    /// Those in it.
    Inside,
    /// All others: `[^a]`, `\D`.
    Outside,
}

impl ClassSide {
    /// What stands before the items in brackets.
    const fn sign(self) -> &'static str {
        match self {
            Self::Inside => "",
            Self::Outside => "^",
        }
    }

    /// Of a set of ASCII characters.
    const fn of_ascii(self, ascii: u128) -> u128 {
        match self {
            Self::Inside => ascii,
            Self::Outside => !ascii,
        }
    }

    /// The other side.
    pub const fn turned(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }
}

/// What matches nothing.
pub(super) const NOTHING: &str = "[a&&b]";

impl Class {
    /// An empty class in which a letter stands for itself.
    pub fn exact() -> Self {
        Self::default()
    }

    /// An empty class in which a letter stands for its other cases too.
    pub fn folding() -> Self {
        Self { folds: true, ..Self::default() }
    }

    /// Takes in the characters from `low` to `high`, by number. Surrogates are no characters.
    pub fn add_range(&mut self, low: u32, high: u32) {
        let parts = [(low, high.min(0xD7FF)), (low.max(0xE000), high)];
        for (low, high) in parts.into_iter().filter(|(low, high)| low <= high) {
            let _ = write!(self.items, r"\x{{{low:x}}}-\x{{{high:x}}}");
        }
        self.ascii |= fold_if(self.folds, ascii_range(low, high));
        // The two characters beyond ASCII that are another case of an ASCII letter.
        for (sign, letters) in [(0x17F, *b"Ss"), (0x212A, *b"Kk")] {
            if self.folds && (low..=high).contains(&sign) {
                self.ascii |= letters.iter().fold(0, |all, it| all | ascii_bit(*it));
            }
        }
    }

    /// Takes in a class that has a name in Perl or POSIX: `d` or `alpha`.
    pub fn add_named(&mut self, name: &str, side: ClassSide) -> Option<()> {
        let ranges = named_class(name)?;
        let mut class = Self { folds: self.folds, ..Self::default() };
        for (low, high) in ranges {
            class.add_range(u32::from(*low), u32::from(*high));
        }
        self.add(&class, side);
        Some(())
    }

    /// Takes in a category or script of Unicode.
    pub fn add_unicode(&mut self, name: &str, side: ClassSide) -> Option<()> {
        let items = match name {
            "Any" => String::from(r"\x{0}-\x{10ffff}"),
            // RE2/J's does not count what is not assigned.
            "C" => String::from(r"\p{Cc}\p{Cf}\p{Co}"),
            // Surrogates; and scripts that have no characters.
            "Cs" | "Unknown" => String::from(NOTHING),
            _ if CATEGORIES.contains(&name) => alloc::format!(r"\p{{{name}}}"),
            _ if SCRIPTS.contains(&name) => alloc::format!(r"\p{{Script={name}}}"),
            _ => return None,
        };
        let ascii = unicode_ascii(name, self.folds);
        self.add(&Self { items, ascii, folds: self.folds }, side);
        Some(())
    }

    fn add(&mut self, other: &Self, side: ClassSide) {
        let _ = write!(self.items, "[{}{}]", side.sign(), other.items);
        self.ascii |= side.of_ascii(other.ascii);
    }

    /// An expression for one character on this side of the class.
    pub fn expression(&self, side: ClassSide, alphabet: Alphabet) -> String {
        match alphabet {
            Alphabet::Ascii => of_ascii(side.of_ascii(self.ascii)),
            Alphabet::Unicode if self.items.is_empty() => String::from(NOTHING),
            Alphabet::Unicode => {
                let fold = if self.folds { "i" } else { "" };
                alloc::format!("(?{fold}:[{}{}])", side.sign(), self.items)
            }
        }
    }
}

const fn ascii_bit(byte: u8) -> u128 {
    1 << (byte & 0x7F)
}

fn ascii_range(low: u32, high: u32) -> u128 {
    (0..128_u8)
        .filter(|it| (low..=high).contains(&u32::from(*it)))
        .fold(0, |all, it| all | ascii_bit(it))
}

/// The same letters in both cases.
fn fold_if(folds: bool, ascii: u128) -> u128 {
    if !folds {
        return ascii;
    }
    let both = |letter: u8| {
        ascii_bit(letter.to_ascii_lowercase()) | ascii_bit(letter.to_ascii_uppercase())
    };
    let letters = (0..128_u8).filter(|it| it.is_ascii_alphabetic() && ascii & ascii_bit(*it) != 0);
    letters.fold(ascii, |all, it| all | both(it))
}

/// A class of exactly these ASCII characters.
fn of_ascii(ascii: u128) -> String {
    let mut text = String::from("[");
    let mut at = 0_u8;
    while at < 128 {
        if ascii & ascii_bit(at) == 0 {
            at += 1;
            continue;
        }
        let low = at;
        while at < 127 && ascii & ascii_bit(at + 1) != 0 {
            at += 1;
        }
        let _ = write!(text, r"\x{low:02x}-\x{at:02x}");
        at += 1;
    }
    if text.len() == 1 {
        return String::from(NOTHING);
    }
    text.push(']');
    text
}

/// The ranges of a class of Perl (`d`, `s`, `w`) or POSIX.
fn named_class(name: &str) -> Option<&'static [(u8, u8)]> {
    Some(match name {
        "d" | "digit" => &[(b'0', b'9')],
        // Without the vertical tab, which POSIX's has.
        "s" => &[(b'\t', b'\n'), (12, b'\r'), (b' ', b' ')],
        "w" | "word" => &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')],
        "alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        "alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        "ascii" => &[(0, 0x7F)],
        "blank" => &[(b'\t', b'\t'), (b' ', b' ')],
        "cntrl" => &[(0, 0x1F), (0x7F, 0x7F)],
        "graph" => &[(b'!', b'~')],
        "lower" => &[(b'a', b'z')],
        "print" => &[(b' ', b'~')],
        "punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        "space" => &[(b'\t', b'\r'), (b' ', b' ')],
        "upper" => &[(b'A', b'Z')],
        "xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => return None,
    })
}

/// The ASCII characters of a category or script. Of cases RE2/J's tables know those of upper case
/// letters, and of lower case ones only two.
fn unicode_ascii(name: &str, folds: bool) -> u128 {
    let of = |text: &[u8]| text.iter().fold(0, |all, it| all | ascii_bit(*it));
    let (control, digits) = (ascii_range(0, 0x1F) | ascii_bit(0x7F), ascii_range(0x30, 0x39));
    let (upper, lower) = (ascii_range(0x41, 0x5A), ascii_range(0x61, 0x7A));
    let (currency, modifier, math) = (of(b"$"), of(b"^`"), of(b"+<=>|~"));
    let (open, close) = (of(b"([{"), of(b")]}"));
    let (dash, connector, other) = (of(b"-"), of(b"_"), of(b"!\"#%&'*,./:;?@\\"));
    match name {
        "Any" => u128::MAX,
        "C" | "Cc" => control,
        "Lu" if folds => upper | lower,
        "Lu" => upper,
        "Ll" if folds => lower | of(b"KS"),
        "Ll" => lower,
        "L" | "Latin" => upper | lower,
        "N" | "Nd" => digits,
        "P" => open | close | dash | connector | other,
        "Pc" => connector,
        "Pd" => dash,
        "Pe" => close,
        "Po" => other,
        "Ps" => open,
        "S" => currency | modifier | math,
        "Sc" => currency,
        "Sk" => modifier,
        "Sm" => math,
        "Z" | "Zs" => of(b" "),
        "Common" => !(upper | lower),
        _ => 0,
    }
}

/// The categories that have names in RE2/J, but for those that are treated apart.
const CATEGORIES: [&str; 34] = [
    "Cc", "Cf", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl",
    "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl",
    "Zp", "Zs",
];

/// The scripts that have names in RE2/J: those of Unicode 6.0.
const SCRIPTS: [&str; 95] = [
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Batak",
    "Bengali",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Canadian_Aboriginal",
    "Carian",
    "Cham",
    "Cherokee",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Egyptian_Hieroglyphs",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Greek",
    "Gujarati",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanunoo",
    "Hebrew",
    "Hiragana",
    "Imperial_Aramaic",
    "Inherited",
    "Inscriptional_Pahlavi",
    "Inscriptional_Parthian",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kayah_Li",
    "Kharoshthi",
    "Khmer",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Linear_B",
    "Lisu",
    "Lycian",
    "Lydian",
    "Malayalam",
    "Mandaic",
    "Meetei_Mayek",
    "Mongolian",
    "Myanmar",
    "New_Tai_Lue",
    "Nko",
    "Ogham",
    "Ol_Chiki",
    "Old_Italic",
    "Old_Persian",
    "Old_South_Arabian",
    "Old_Turkic",
    "Oriya",
    "Osmanya",
    "Phags_Pa",
    "Phoenician",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Shavian",
    "Sinhala",
    "Sundanese",
    "Syloti_Nagri",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Tai_Le",
    "Tai_Tham",
    "Tai_Viet",
    "Tamil",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Ugaritic",
    "Vai",
    "Yi",
];
