//! A look into a keytab: Kerberos libraries say "no credentials cache found" for every way in which one can be wrong.
//!
//! The format is MIT's, version 2: `05 02`, then records of a signed 32-bit length (negative: a hole) and, big-endian, the number of
//! components, the realm, the components, name type, timestamp, key version, key type and key.

use std::path::Path;

/// The principals in a keytab, as `a/b@REALM`.
///
/// # Errors
/// When it cannot be read or is no keytab, with what is wrong.
pub(crate) fn principals(path: &Path) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    parse(&bytes).ok_or_else(|| "it is no keytab, or a damaged one".to_owned())
}

fn parse(bytes: &[u8]) -> Option<Vec<String>> {
    let mut rest = bytes.strip_prefix(&[5, 2])?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        let size = usize::try_from(length.unsigned_abs()).ok()?;
        let (record, after) = after.split_at_checked(size)?;
        if length > 0 {
            let principal = principal(record)?;
            if !found.contains(&principal) {
                found.push(principal);
            }
        }
        rest = after;
    }
    Some(found)
}

fn principal(record: &[u8]) -> Option<String> {
    let (count, rest) = record.split_first_chunk::<2>()?;
    let (realm, mut rest) = text(rest)?;
    let mut components = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (component, after) = text(rest)?;
        components.push(component);
        rest = after;
    }
    Some(format!("{}@{realm}", components.join("/")))
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((String::from_utf8_lossy(text).into_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(components: &[&str], realm: &str) -> Vec<u8> {
        let counted = |text: &str| {
            let mut out = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
            out.extend_from_slice(text.as_bytes());
            out
        };
        let mut body = u16::try_from(components.len()).unwrap().to_be_bytes().to_vec();
        body.extend(counted(realm));
        components.iter().for_each(|component| body.extend(counted(component)));
        body.extend([0; 13]);
        let mut out = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        out.extend(body);
        out
    }

    #[test]
    fn principals_are_found_past_holes() {
        let mut bytes = vec![5, 2];
        bytes.extend((-3_i32).to_be_bytes());
        bytes.extend([0; 3]);
        bytes.extend(record(&["broker", "host"], "R"));
        bytes.extend(record(&["broker", "host"], "R"));
        bytes.extend(record(&["ada"], "R"));
        assert_eq!(parse(&bytes).unwrap(), ["broker/host@R", "ada@R"]);
    }

    #[test]
    fn damage_is_noticed() {
        let mut whole = vec![5, 2];
        whole.extend(record(&["ada"], "R"));
        for end in [0, 1, 3, 8, whole.len() - 1] {
            assert!(parse(&whole[..end]).is_none(), "{end}");
        }
        assert!(parse(b"not a keytab").is_none());
        assert!(parse(&[5, 2, 0x80, 0, 0, 0]).is_none(), "the shortest number");
    }
}
