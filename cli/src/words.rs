//! Words for people: those by which they see that they are in the same room, and new passphrases.
//! The list is the English one of BIP-39, 2,048 words of which no two begin alike.

use klatch_core::crypto::group::word_numbers;
use klatch_core::ids::RoomId;

use crate::error::Report;

/// Words of a new passphrase: 66 bits, beside which each guess costs the stretch of a room.
const PASSPHRASE_WORDS: usize = 6;

/// The words of a room.
pub fn of_room(room: &RoomId) -> String {
    word_numbers(room).map(word).join(" ")
}

/// A passphrase that nobody guesses, drawn by chance.
pub fn passphrase() -> Result<String, Report> {
    let mut bytes = [0; 2 * PASSPHRASE_WORDS];
    getrandom::fill(&mut bytes).map_err(|e| Report::bug(&e))?;
    let words: Vec<&str> =
        bytes.chunks_exact(2).map(|c| word(u16::from(c[0]) << 8 | u16::from(c[1]))).collect();
    Ok(words.join(" "))
}

/// The lowest 11 bits as a word.
fn word(number: u16) -> &'static str {
    let list = bip39::Language::English.word_list();
    list.get(usize::from(number) % list.len()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_three_words_and_another_room_has_others() {
        let words = of_room(&RoomId([7; 16]));
        assert_eq!(words.split(' ').filter(|w| w.len() >= 3).count(), 3, "{words}");
        assert_eq!(words, of_room(&RoomId([7; 16])));
        assert_ne!(words, of_room(&RoomId([8; 16])));
    }

    #[test]
    fn a_new_passphrase_has_six_words_and_is_new() {
        let passphrase = super::passphrase().unwrap();
        assert_eq!(passphrase.split(' ').count(), PASSPHRASE_WORDS);
        assert_ne!(passphrase, super::passphrase().unwrap());
    }
}
