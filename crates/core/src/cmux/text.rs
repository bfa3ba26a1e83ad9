//! Text that a module sends outside of frames, as it does after a reset: whole printable lines, nothing else.

/// Collects a line.
#[derive(Debug, Default)]
pub struct Text {
    line: String,
    /// The line holds what no text has, or is too long: it is skipped up to its end.
    is_spoiled: bool,
}

impl Text {
    /// Takes bytes up to the end of the next line. `None`: all were taken, and there was none.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Option<String> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            match byte {
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    if !std::mem::take(&mut self.is_spoiled) && line.len() >= LINE_MIN_BYTES {
                        return Some(line);
                    }
                }
                b' '..=b'~' if self.line.len() < LINE_MAX_BYTES => self.line.push(char::from(byte)),
                _ => self.is_spoiled = true,
            }
        }
        None
    }

    /// A frame begins: what had no end was no line.
    pub fn interrupted(&mut self) {
        self.line.clear();
        self.is_spoiled = false;
    }
}

/// Whether a module that has booted, or goes down, sends this.
pub fn tells_of_reboot(line: &str) -> bool {
    ["RDY", "APP RDY", "+CFUN: 1", "POWERED DOWN", "NORMAL POWER DOWN"].contains(&line.trim_end())
}

/// Shorter lines are noise.
const LINE_MIN_BYTES: usize = 2;

/// Longer ones are not the module's words.
const LINE_MAX_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], step: usize) -> Vec<String> {
        let mut text = Text::default();
        let mut all = Vec::new();
        for mut piece in bytes.chunks(step) {
            all.extend(std::iter::from_fn(|| text.take(&mut piece)));
        }
        all
    }

    #[test]
    fn only_whole_printable_lines_of_some_length_count() {
        let long = [&[b'a'; 81][..], b"\r\n"].concat();
        let bytes = [b"\r\nRDY\r\n\r\n+CFUN: 1\r\nx\r\nR\x80DY\r\n", &long[..], b"OK\r\nAPP R"].concat();
        for step in 1..30 {
            assert_eq!(lines(&bytes, step), ["RDY", "+CFUN: 1", "OK"], "in steps of {step}");
        }
    }

    #[test]
    fn a_line_that_a_frame_interrupts_is_none() {
        let mut text = Text::default();
        assert_eq!(text.take(&mut &b"\r\nRD"[..]), None);
        text.interrupted();
        assert_eq!(text.take(&mut &b"Y\r\nRDY\r\n"[..]).as_deref(), Some("RDY"));
    }
}
