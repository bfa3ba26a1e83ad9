//! Files about modules: one TOML file says what a module is, and where each of its values comes from.
//!
//! `modules/README.md` describes the files. Those of `modules/` are compiled in and known by their names. What a file does
//! not say stays as in the manual that it follows.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use crate::config::Config;

mod reader;
mod schema;
#[cfg(test)]
mod tests;

/// The modules that are compiled in: name and file.
pub const SHIPPED: [(&str, &str); 9] = [
    ("bg770a-gl", include_str!("../modules/bg770a-gl.toml")),
    ("bg95-m3", include_str!("../modules/bg95-m3.toml")),
    ("bg96", include_str!("../modules/bg96.toml")),
    ("ec20", include_str!("../modules/ec20.toml")),
    ("ec25", include_str!("../modules/ec25.toml")),
    ("ec801e", include_str!("../modules/ec801e.toml")),
    ("eg25-g", include_str!("../modules/eg25-g.toml")),
    ("eg800k", include_str!("../modules/eg800k.toml")),
    ("eg800q", include_str!("../modules/eg800q.toml")),
];

/// What a file says about a module. It is displayed value by value, with the sources and with what is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: Vec<Fact>,
    /// Keys and tables whose values nobody knows.
    pub unknown: Vec<String>,
}

/// One value of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Table and key: `limits.sockets`.
    pub key: String,
    /// The value as the file has it.
    pub value: String,
    /// Where it comes from: `manual …`, `capture …` or `inference …`.
    pub source: String,
}

/// Makes `config` the module of that name or file. What the file does not say is left as it is, except the family.
///
/// # Errors
/// There is no such module or file, or the file is wrong: then the error has the file, the line and the key.
pub fn read(name_or_file: &str, config: &mut Config) -> anyhow::Result<Module> {
    let shipped = SHIPPED.iter().find(|(name, _)| name.eq_ignore_ascii_case(name_or_file));
    if let Some((name, text)) = shipped {
        return reader::read(&format!("{name}.toml"), text, config);
    }
    if !Path::new(name_or_file).is_file() {
        let names = SHIPPED.map(|(name, _)| name).join(", ");
        bail!("no module is called {name_or_file:?}: give a file or one of {names}");
    }
    let text = fs::read_to_string(name_or_file).with_context(|| format!("cannot read {name_or_file}"))?;
    reader::read(name_or_file, &text, config)
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        for Fact { key, value, source } in &self.values {
            writeln!(f, "{key} = {value}    # {source}")?;
        }
        self.unknown.iter().try_for_each(|key| writeln!(f, "{key}    # unknown"))
    }
}
