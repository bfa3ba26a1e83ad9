//! The notation for what passed on a line: `>` the host, `<` the modem, `@` the time, `#` a remark.
