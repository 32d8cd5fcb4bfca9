//! "Did you mean": the nearest of some names. Used for methods, parameters, rooms and slash
//! commands.

/// The candidate with the smallest edit distance, if it is close enough to be a slip of the
/// fingers.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer words are not compared: the distance is quadratic in time.
    const WORD_CHARS_MAX: usize = 64;
    if word.chars().count() > WORD_CHARS_MAX {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates.map(|c| (distance(word, c), c)).filter(|(d, _)| *d <= allowed).min().map(|(_, c)| c)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_slips() {
        assert_eq!(distance("join", "join"), 0);
        assert_eq!(distance("jion", "join"), 1);
        assert_eq!(distance("jin", "join"), 1);
        assert_eq!(distance("", "join"), 4);
    }
}
