//! CBOR by hand: to write what no encoder of ours would write, and to tell the one allowed spelling
//! from all others without the library that the program uses.

/// Array header and items.
pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len() as u64), items.concat()].concat()
}

/// Unsigned integer in its shortest form.
pub fn uint(n: u64) -> Vec<u8> {
    head(0, n)
}

/// Byte string.
pub fn blob(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len() as u64), bytes.to_vec()].concat()
}

/// Text string.
pub fn text(text: &str) -> Vec<u8> {
    [head(3, text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// `null`.
pub fn null() -> Vec<u8> {
    vec![0xf6]
}

/// `true`.
pub fn yes() -> Vec<u8> {
    vec![0xf5]
}

fn head(major: u8, n: u64) -> Vec<u8> {
    let b = n.to_be_bytes();
    let (low, rest): (u8, &[u8]) = match n {
        0..24 => (b[7], &[]),
        24..0x100 => (24, &b[7..]),
        0x100..0x1_0000 => (25, &b[6..]),
        0x1_0000..0x1_0000_0000 => (26, &b[4..]),
        _ => (27, &b),
    };
    [&[major << 5 | low], rest].concat()
}

/// The encoded items of an encoded array.
pub fn items(encoded: &[u8]) -> Vec<Vec<u8>> {
    let (major, count, mut at) = read_head(encoded, 0).unwrap();
    assert_eq!(major, 4);
    let mut out = Vec::new();
    for _ in 0..count {
        let end = skip(encoded, at, 0).unwrap();
        out.push(encoded[at..end].to_vec());
        at = end;
    }
    out
}

/// Whether `bytes` are exactly one value in the spelling of PROTOCOL.md 2.1.
pub fn is_strict(bytes: &[u8]) -> bool {
    skip(bytes, 0, 0) == Some(bytes.len())
}

fn skip(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    let (major, n, mut at) = read_head(bytes, at)?;
    let n = usize::try_from(n).ok()?;
    match major {
        0 => Some(at),
        2 | 3 => {
            let end = at.checked_add(n).filter(|e| *e <= bytes.len())?;
            (major == 2 || std::str::from_utf8(&bytes[at..end]).is_ok()).then_some(end)
        }
        4 if depth < 16 => {
            for _ in 0..n {
                at = skip(bytes, at, depth + 1)?;
            }
            Some(at)
        }
        7 => matches!(n, 20..=22).then_some(at),
        _ => None,
    }
}

/// Major type, argument, and where the contents start; `None` for indefinite, reserved and longer
/// than needed.
fn read_head(bytes: &[u8], at: usize) -> Option<(u8, u64, usize)> {
    let first = *bytes.get(at)?;
    let (major, low, at) = (first >> 5, first & 31, at + 1);
    if low < 24 {
        return Some((major, u64::from(low), at));
    }
    let size = 1usize << (low.checked_sub(24).filter(|s| *s < 4)?);
    let n = bytes.get(at..at + size)?.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let least = [24, 0x100, 0x1_0000, 0x1_0000_0000][size.ilog2() as usize];
    (n >= least && major != 7).then_some((major, n, at + size))
}

/// Every way to spell an array structure wrongly that does not depend on what it is: (what, bytes).
pub fn misspellings(valid: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let items = items(valid);
    let with = |i: usize, item: Vec<u8>| {
        let mut changed = items.clone();
        changed[i] = item;
        array(&changed)
    };
    let mut out = vec![
        ("empty", Vec::new()),
        ("trailing byte", [valid, &[0]].concat()),
        ("twice", [valid, valid].concat()),
        ("last byte missing", valid[..valid.len() - 1].to_vec()),
        ("a tag around it", [&[0xd9, 0xd9, 0xf7], valid].concat()),
        ("a map in place of the array", [&[0xa1, 0x01], valid].concat()),
        ("a byte string around it", blob(valid)),
        ("array of indefinite length", [&[0x9f], &items.concat()[..], &[0xff]].concat()),
        (
            "longer array header than needed",
            [&[0x98, items.len() as u8], &items.concat()[..]].concat(),
        ),
        ("extra item", array(&[items.clone(), vec![null()]].concat())),
    ];
    if !items.is_empty() {
        out.push(("last item missing", array(&items[..items.len() - 1])));
        out.push(("all items missing", array(&[])));
        out.push((
            "array header counts one too many",
            [head(4, items.len() as u64 + 1), items.concat()].concat(),
        ));
    }
    if let Some((i, item)) = items.iter().enumerate().find(|(_, item)| item[0] < 24) {
        out.push(("longer integer than needed", with(i, vec![0x18, item[0]])));
        out.push(("integer as a bignum", with(i, vec![0xc2, 0x41, item[0]])));
        out.push(("integer as a float", with(i, vec![0xf9, 0, 0])));
        out.push(("negative integer", with(i, vec![0x20])));
    }
    if let Some((i, item)) = items.iter().enumerate().find(|(_, item)| item[0] >> 5 == 2) {
        let (_, n, at) = read_head(item, 0).unwrap();
        let contents = &item[at..];
        let pieces = [vec![0x5f], blob(&contents[..1]), blob(&contents[1..]), vec![0xff]].concat();
        out.push(("byte string in pieces", with(i, pieces)));
        let numbers = array(&contents.iter().map(|b| uint(u64::from(*b))).collect::<Vec<_>>());
        out.push(("byte string as an array of numbers", with(i, numbers)));
        out.push((
            "longer byte string header than needed",
            with(i, [&[0x5a], &(n as u32).to_be_bytes()[..], contents].concat()),
        ));
        out.push((
            "byte string that promises too much",
            with(i, [&[0x5b], &(1u64 << 62).to_be_bytes()[..], contents].concat()),
        ));
    }
    if let Some(i) = items.iter().position(|item| *item == null()) {
        out.push(("undefined in place of null", with(i, vec![0xf7])));
    }
    out
}
