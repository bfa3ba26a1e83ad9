//! What a module reports about its cell: signal, band, technology, temperature.
//!
//! What a module does not know comes as `-`, 99, 255 or nothing, or is left out. All of them are outside of the ranges
//! here, and become `None`.

use std::fmt;
use std::ops::RangeInclusive;

use super::{Answer, values};

/// How the module reaches the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Technology {
    /// 2G.
    Gsm,
    /// 3G.
    Umts,
    /// 4G.
    Lte,
    /// Cat M1, "eMTC".
    LteM,
    /// Cat NB1 and NB2.
    NbIot,
}

impl Technology {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "GSM" => Technology::Gsm,
            "WCDMA" | "TDSCDMA" => Technology::Umts,
            "LTE" => Technology::Lte,
            "eMTC" | "CAT-M" | "CAT-M1" => Technology::LteM,
            "NBIoT" | "CAT-NB" | "CAT-NB1" => Technology::NbIot,
            _ => return None,
        })
    }

    /// Whether its cells have reference signals and numbered bands: all that is LTE.
    fn is_lte(self) -> bool {
        !matches!(self, Technology::Gsm | Technology::Umts)
    }
}

impl fmt::Display for Technology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Technology::Gsm => "GSM",
            Technology::Umts => "UMTS",
            Technology::Lte => "LTE",
            Technology::LteM => "LTE-M",
            Technology::NbIot => "NB-IoT",
        })
    }
}

/// `+QCSQ: "<technology>",<RSSI>[,<RSRP>,<SINR>,<RSRQ>]` or `"NOSERVICE"`, and the same of
/// `+QENG: "servingcell",<state>,"<technology>",…` (PROTOCOL section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// `None`: it is in no cell, or in one of another technology.
    pub technology: Option<Technology>,
    /// Everything received, in dBm.
    pub rssi_dbm: Option<i16>,
    /// The cell's reference signals, in dBm.
    pub rsrp_dbm: Option<i16>,
    /// Their quality, in dB.
    pub rsrq_db: Option<i16>,
    /// Signal to interference and noise, in dB, in steps of a fifth.
    pub sinr_db: Option<f64>,
}

impl Answer<'_> for Measured {
    fn of(line: &str) -> Option<Self> {
        let all: Vec<&str> = values(line, "+QCSQ")?.take(FIELDS_MAX).collect();
        let technology = Technology::named(all[0]);
        let rssi_dbm = number(&all, 1, RSSI_DBM).filter(|_| technology.is_some());
        // One firmware has another order: only in the whole form it is known what is what.
        let is_whole = technology.is_some_and(Technology::is_lte) && all.len() == 5;
        let lte = |index, range| number(&all, index, range).filter(|_| is_whole);
        Some(Measured {
            technology,
            rssi_dbm,
            rsrp_dbm: lte(2, RSRP_DBM),
            // In fifths of a dB above -20.
            sinr_db: lte(3, 0..=250).map(|fifths| f64::from(2 * fifths - 200) / 10.0),
            rsrq_db: lte(4, RSRQ_DB),
        })
    }
}

/// `+QENG: "servingcell",<state>[,"<technology>",…]` (PROTOCOL section 5).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServingCell {
    /// Without SINR, whose unit differs from one module to the next.
    pub measured: Measured,
    /// The band's number, of LTE.
    pub band: Option<i16>,
    /// Country, network, area and cell, as in `262-01-1F2A-A3B4C01`: the last two hexadecimal.
    pub identity: Option<String>,
}

impl Answer<'_> for ServingCell {
    fn of(line: &str) -> Option<Self> {
        let all: Vec<&str> = values(line, "+QENG")?.take(FIELDS_MAX).collect();
        if all[0] != "servingcell" {
            return None;
        }
        let technology = all.get(2).and_then(|name| Technology::named(name));
        let is_lte = technology.is_some_and(Technology::is_lte);
        let lte = |index, range| number(&all, index, range).filter(|_| is_lte);
        // After the technology LTE has whether it is FDD or TDD.
        let places = if is_lte { [4, 5, 12, 6] } else { [3, 4, 5, 6] };
        let is_known = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parts = places.map(|index| all.get(index).copied().filter(is_known));
        let identity = match parts {
            [Some(country), Some(network), Some(area), Some(cell)] if technology.is_some() => {
                Some(format!("{country}-{network}-{area}-{cell}"))
            }
            _ => None,
        };
        Some(ServingCell {
            measured: Measured {
                technology,
                rsrp_dbm: lte(13, RSRP_DBM),
                rsrq_db: lte(14, RSRQ_DB),
                rssi_dbm: lte(15, RSSI_DBM),
                sinr_db: None,
            },
            band: lte(9, BANDS),
            identity,
        })
    }
}

/// `+QCSQ: "NOSERVICE"` or `+QENG: "servingcell","SEARCH"`: the module is in no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoService;

impl Answer<'_> for NoService {
    fn of(line: &str) -> Option<Self> {
        let is = |name, words: &[&str]| {
            values(line, name).is_some_and(|all| all.take(words.len()).eq(words.iter().copied()))
        };
        (is("+QCSQ", &["NOSERVICE"]) || is("+QENG", &["servingcell", "SEARCH"])).then_some(NoService)
    }
}

/// `+QTEMP: <a>,<b>,<c>`, `+QTEMP: "<sensor>","<a>"` in a line each, or one number: the warmest, in degrees Celsius.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temperature(pub Option<i16>);

impl Answer<'_> for Temperature {
    fn of(line: &str) -> Option<Self> {
        let all = values(line, "+QTEMP")?.filter_map(|field| field.parse().ok());
        Some(Temperature(all.filter(|celsius| CELSIUS.contains(celsius)).max()))
    }
}

/// The field with this index, if it is a number in this range.
fn number(all: &[&str], index: usize, range: RangeInclusive<i16>) -> Option<i16> {
    all.get(index)?.parse().ok().filter(|number| range.contains(number))
}

/// 3GPP TS 36.133, 9.1.4, with what LTE-M adds.
const RSRP_DBM: RangeInclusive<i16> = -156..=-31;
/// 3GPP TS 36.133, 9.1.7, with what later releases add.
const RSRQ_DB: RangeInclusive<i16> = -34..=3;
const BANDS: RangeInclusive<i16> = 1..=255;
const RSSI_DBM: RangeInclusive<i16> = -140..=-10;
/// What a module survives.
const CELSIUS: RangeInclusive<i16> = -60..=130;

/// As many as are looked at: that of an LTE cell has 18.
const FIELDS_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn lte(rssi: i16, rsrp: i16, rsrq: i16, sinr_db: Option<f64>) -> Measured {
        Measured {
            technology: Some(Technology::Lte),
            rssi_dbm: Some(rssi),
            rsrp_dbm: Some(rsrp),
            rsrq_db: Some(rsrq),
            sinr_db,
        }
    }

    #[test]
    fn a_signal_has_what_its_technology_has() {
        for (line, wanted) in [
            // EC25 and EG91xQ; then BG96 and BG95.
            ("+QCSQ: \"LTE\",-57,-85,160,-11", lte(-57, -85, -11, Some(12.0))),
            (
                "+QCSQ: \"CAT-M1\",-62,-92,93,-14",
                Measured { technology: Some(Technology::LteM), ..lte(-62, -92, -14, Some(-1.4)) },
            ),
            (
                "+QCSQ: \"eMTC\",-84,-91,165,-6",
                Measured { technology: Some(Technology::LteM), ..lte(-84, -91, -6, Some(13.0)) },
            ),
            (
                "+QCSQ: \"GSM\",-63",
                Measured { technology: Some(Technology::Gsm), rssi_dbm: Some(-63), ..Measured::default() },
            ),
            (
                "+QCSQ: \"WCDMA\",-70,-78,-3",
                Measured { technology: Some(Technology::Umts), rssi_dbm: Some(-70), ..Measured::default() },
            ),
            ("+QCSQ: \"NOSERVICE\"", Measured::default()),
            ("+QCSQ: \"NOSERVICE\",-57,-85,160,-11", Measured::default()),
            ("+QCSQ: ", Measured::default()),
        ] {
            assert_eq!(Measured::of(line), Some(wanted), "{line}");
        }
        assert_eq!(Measured::of("+CSQ: 28,99"), None);
    }

    #[test]
    fn what_is_unknown_or_out_of_range_is_absent_and_not_zero() {
        let none = Measured { technology: Some(Technology::Lte), ..Measured::default() };
        for line in [
            "+QCSQ: \"LTE\",-,-,-,-",
            "+QCSQ: \"LTE\",99,255,251,99",
            "+QCSQ: \"LTE\",0,0,-1,4",
            "+QCSQ: \"LTE\",,,,",
            "+QCSQ: \"LTE\"",
            "+QCSQ: \"LTE\",-32768,-99999,99999,-35",
            // One value too many: which is which is not known.
            "+QCSQ: \"LTE\",,-51,-80,200,-9",
        ] {
            assert_eq!(Measured::of(line), Some(none), "{line}");
        }
    }

    #[test]
    fn a_serving_cell_is_read_in_the_forms_of_all_families() {
        let cell = |technology, measured, band, identity: &str| ServingCell {
            measured: Measured { technology: Some(technology), ..measured },
            band,
            identity: Some(identity.to_owned()),
        };
        for (line, wanted) in [
            // EG25-G and EC25; then BG95 and BG96, which do not know the last value; then 2G and 3G.
            (
                "+QENG: \"servingcell\",\"NOCONN\",\"LTE\",\"FDD\",001,01,7676A09,188,6300,20,3,3,603,-104,-9,-78,11,23",
                cell(Technology::Lte, lte(-78, -104, -9, None), Some(20), "001-01-603-7676A09"),
            ),
            (
                "+QENG: \"servingcell\",\"NOCONN\",\"eMTC\",\"FDD\",001,010,3787103,260,2050,4,5,5,5B10,-108,-11,-83,19,13",
                cell(Technology::LteM, lte(-83, -108, -11, None), Some(4), "001-010-5B10-3787103"),
            ),
            (
                "+QENG: \"servingcell\",\"CONNECT\",\"CAT-M\",\"FDD\",001,03,2FAA03,187,6200,20,3,3,2AFB,-105,-11,-76,10,-",
                cell(Technology::LteM, lte(-76, -105, -11, None), Some(20), "001-03-2AFB-2FAA03"),
            ),
            (
                "+QENG: \"servingcell\",\"NOCONN\",\"GSM\",001,99,DC51,B919,26,50,-,-73,255,255,0,38,38,1,-,-,-,-,-,-,-,-,-,\"-\"",
                cell(Technology::Gsm, Measured::default(), None, "001-99-DC51-B919"),
            ),
            (
                "+QENG: \"servingcell\",\"NOCONN\",\"WCDMA\",001,10,75,6FE0090,10736,58,0,-78,-3,-,-,-,-,-",
                cell(Technology::Umts, Measured::default(), None, "001-10-75-6FE0090"),
            ),
            ("+QENG: \"servingcell\",\"SEARCH\"", ServingCell::default()),
            ("+QENG: \"servingcell\"", ServingCell::default()),
            (
                "+QENG: \"servingcell\",\"NOCONN\",\"NR5G-SA\",\"TDD\",001,01,9,2,6,6,78,12,-107",
                ServingCell::default(),
            ),
            (
                "+QENG: \"servingcell\",\"LIMSRV\",\"LTE\",\"FDD\",-,-,-,188,6300,256,3,3,-,-,-,-,-,-",
                ServingCell {
                    measured: Measured { technology: Some(Technology::Lte), ..Measured::default() },
                    ..ServingCell::default()
                },
            ),
        ] {
            assert_eq!(ServingCell::of(line), Some(wanted), "{line}");
        }
        assert_eq!(ServingCell::of("+QENG: \"neighbourcell intra\",\"LTE\",6300,188,-12,-105,-75"), None);
    }

    #[test]
    fn a_temperature_is_that_of_the_warmest_sensor() {
        for (line, wanted) in [
            ("+QTEMP: 32,0,18", Some(32)),
            ("+QTEMP: 38", Some(38)),
            ("+QTEMP: -12,-15,-14", Some(-12)),
            ("+QTEMP: \"qfe_wtr_pa0\",\"57\"", Some(57)),
            ("+QTEMP:\"xo_therm_buf\",\"33\"", Some(33)),
            ("+QTEMP: 255,255,255", None),
            ("+QTEMP: -,-,-", None),
            ("+QTEMP: \"pa0\",\"-273\"", None),
            ("+QTEMP: (0,1)", None),
            ("+QTEMP: ", None),
        ] {
            assert_eq!(Temperature::of(line), Some(Temperature(wanted)), "{line}");
        }
        assert_eq!(Temperature::of("+QTEMPDBG: 44"), None);
    }
}
