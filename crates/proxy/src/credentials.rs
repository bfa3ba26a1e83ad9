//! Who may use the proxy: users and their passwords.

use std::fmt;

/// Users and passwords. Their `Debug` shows how many there are.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Vec<(Vec<u8>, Vec<u8>)>);

/// Why a text has no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// It has no line with a user.
    #[error("it has no line USER:PASSWORD")]
    Empty,
    /// This line, counted from 1, is none.
    #[error("line {0} is not USER:PASSWORD, 1-255 characters each")]
    Line(usize),
}

impl Credentials {
    /// Reads lines of `USER:PASSWORD`. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// Names the first line that is none of these.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let mut all = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let fits = |text: &str| (1..=PART_MAX_BYTES).contains(&text.len());
            match line.split_once(':').filter(|(user, password)| fits(user) && fits(password)) {
                Some((user, password)) => all.push((user.into(), password.into())),
                None => return Err(CredentialsError::Line(index + 1)),
            }
        }
        if all.is_empty() { Err(CredentialsError::Empty) } else { Ok(Credentials(all)) }
    }

    /// Whether there is such a user with this password. The time that it takes does not show how much of them is right.
    pub fn has(&self, user: &[u8], password: &[u8]) -> bool {
        let matching =
            |(known, secret): &(Vec<u8>, Vec<u8>)| is_same(known, user) & is_same(secret, password);
        self.0.iter().fold(false, |any, pair| any | matching(pair))
    }
}

/// Compares all of `given`, wherever the first difference is.
fn is_same(known: &[u8], given: &[u8]) -> bool {
    let differences = given.iter().enumerate().fold(0, |all, (index, byte)| {
        let other = known.get(index % known.len().max(1)).copied().unwrap_or_default();
        all | (byte ^ other)
    });
    (std::hint::black_box(differences) == 0) & (known.len() == given.len())
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.0.len())
    }
}

/// The longest user or password, in bytes (RFC 1929, 2).
const PART_MAX_BYTES: usize = 255;

/// Why a client is refused.
pub const UNKNOWN: &str = "its user or password is wrong";
