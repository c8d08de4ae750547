//! The emulator's own flags, which begin with `+`: which there are, and what values they take.
//! Values may stand in the next argument or be attached (`+P 5000`, `+P5000`).

use std::ops::RangeInclusive;

/// What comes with a flag.
#[derive(Clone, Copy)]
enum Value {
    Nothing,
    /// Something that OTP's runtime would tune itself with; this one has nothing to tune there.
    Any,
    /// Within the flag itself, whatever it is.
    Attached,
    /// `c`, `d` or `i`, within the flag or in the next argument, or nothing.
    Break,
    /// A parameter of OTP's allocators, and its value within the flag or in the next argument.
    Allocator,
    Number {
        min: u64,
        max: u64,
        what: &'static str,
    },
    /// `true` or `false`, within the flag or in the next argument; any other next argument, or
    /// none, is `false`.
    TimeCorrection,
    /// One of these words.
    Word(&'static str, &'static [&'static str]),
    /// `true` or `false`.
    Bool(&'static str),
    /// How many, and after a colon how many of them are online at first. Less than one counts from
    /// the default down.
    Schedulers,
    /// Percentages of the default number of schedulers, and of those online.
    SchedulersPercent,
}

const fn number(range: RangeInclusive<u64>, what: &'static str) -> Value {
    Value::Number { min: *range.start(), max: *range.end(), what }
}

/// The most schedulers that can be asked for.
const SCHEDULERS_MAX: u64 = 1024;
const IDENTIFIERS: RangeInclusive<u64> = 1024..=(1 << 27) - 1;

const FLAGS: &[(&str, Value)] = &[
    ("+A", number(0..=1024, "number of async threads")),
    ("+a", number(16..=8192, "suggested stack size for async threads")),
    ("+B", Value::Break),
    ("+C", Value::Word("time warp mode", &["no_time_warp", "single_time_warp", "multi_time_warp"])),
    ("+c", Value::TimeCorrection),
    ("+D", Value::Nothing),
    ("+Dibpl", Value::Bool("line breakpoints")),
    ("+d", Value::Nothing),
    ("+e", Value::Any),
    ("+fn", Value::Attached),
    ("+hmax", number(0..=u64::MAX >> 5, "max heap size")),
    ("+hmaxel", Value::Bool("max heap size error logger")),
    ("+hmaxib", Value::Bool("max heap size include shared binaries")),
    ("+hmaxk", Value::Bool("max heap size kill")),
    ("+hmbs", number(1..=u64::MAX >> 5, "virtual heap size")),
    ("+hmqd", Value::Any),
    ("+hms", number(1..=u64::MAX >> 5, "heap size")),
    ("+hpds", number(1..=65_535, "process dictionary size")),
    ("+IOPp", Value::Any),
    ("+IOPt", Value::Any),
    ("+IOp", Value::Any),
    ("+IOt", Value::Any),
    ("+IOs", Value::Any),
    ("+JMsingle", Value::Bool("single mapping")),
    ("+JPperf", Value::Any),
    ("+K", Value::Bool("kernel poll")),
    ("+l", Value::Nothing),
    ("+M", Value::Allocator),
    ("+P", number(IDENTIFIERS, "number of processes")),
    ("+pad", Value::Bool("async dist")),
    ("+pc", Value::Word("range of printable characters", &["latin1", "unicode"])),
    ("+Q", number(IDENTIFIERS, "number of ports")),
    ("+R", Value::Any),
    ("+r", Value::Nothing),
    ("+rg", Value::Any),
    ("+S", Value::Schedulers),
    ("+SD", Value::Any),
    ("+SDPcpu", Value::SchedulersPercent),
    ("+SDcpu", Value::Schedulers),
    ("+SDio", number(1..=1024, "number of dirty I/O schedulers")),
    ("+SP", Value::SchedulersPercent),
    ("+sbt", Value::Any),
    ("+sbwt", Value::Any),
    ("+sbwtdcpu", Value::Any),
    ("+sbwtdio", Value::Any),
    ("+scl", Value::Bool("scheduler compact load")),
    ("+sct", Value::Any),
    ("+sfwi", Value::Any),
    ("+spp", Value::Bool("port parallelism")),
    ("+ssrct", Value::Nothing),
    ("+sss", Value::Any),
    ("+sssdcpu", Value::Any),
    ("+sssdio", Value::Any),
    ("+stbt", Value::Any),
    ("+sub", Value::Bool("scheduler utilization balancing")),
    ("+swct", Value::Any),
    ("+swt", Value::Any),
    ("+swtdcpu", Value::Any),
    ("+swtdio", Value::Any),
    ("+T", number(0..=9, "modified timing level")),
    ("+t", number(8192..=(1 << 31) - 1, "atom table size")),
    ("+V", Value::Nothing),
    ("+v", Value::Attached),
    ("+W", Value::Any),
    ("+x", Value::Nothing),
    ("+zdbbl", number(1..=2_097_151, "dist buffer busy limit")),
    ("+zdntgc", Value::Any),
    ("+zebwt", Value::Any),
    ("+zhft", Value::Any),
];

/// An emulator flag with its value, which is in order.
pub struct Flag<'a> {
    pub name: &'static str,
    pub value: &'a str,
    /// Arguments that it takes.
    pub taken: usize,
}

impl Flag<'_> {
    /// The number that is the value, or before a colon in it.
    pub fn number(&self) -> usize {
        self.value.split(':').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

/// The flag that `arguments` begins with.
pub fn flag(arguments: &[String]) -> Result<Flag<'_>, String> {
    let argument = arguments[0].as_str();
    let exact = FLAGS.iter().find(|(name, _)| *name == argument);
    let attached = || {
        FLAGS
            .iter()
            .filter(|(name, kind)| {
                argument.starts_with(name) && may_follow(*kind, &argument[name.len()..])
            })
            .max_by_key(|(name, _)| name.len())
    };
    let &(name, kind) =
        exact.or_else(attached).ok_or_else(|| format!("unknown emulator flag {argument}"))?;
    let rest = &argument[name.len()..];
    let (value, taken) = match kind {
        Value::Nothing | Value::Attached => return Ok(Flag { name, value: rest, taken: 1 }),
        Value::Break => {
            let value = arguments
                .get(1)
                .map(String::as_str)
                .filter(|value| rest.is_empty() && matches!(*value, "c" | "d" | "i"));
            return Ok(Flag {
                name,
                value: value.unwrap_or(rest),
                taken: 1 + usize::from(value.is_some()),
            });
        }
        Value::TimeCorrection if rest.is_empty() => {
            let value =
                arguments.get(1).map(String::as_str).filter(|value| !value.starts_with(['-', '+']));
            let correction = if value == Some("true") { "true" } else { "false" };
            return Ok(Flag { name, value: correction, taken: 1 + usize::from(value.is_some()) });
        }
        Value::Allocator => {
            let value = arguments.get(1).map(String::as_str).filter(|_| !has_allocator_value(rest));
            return Ok(Flag {
                name,
                value: value.unwrap_or(rest),
                taken: 1 + usize::from(value.is_some()),
            });
        }
        _ if !rest.is_empty() => (rest, 1),
        _ => (arguments.get(1).ok_or_else(|| format!("{name} needs a value"))?.as_str(), 2),
    };
    check(name, kind, value)?;
    Ok(Flag { name, value, taken })
}

/// Whether a parameter of an allocator (`Bas`, `MMamcbf`, `ea`) has its value behind it: a number,
/// or a word.
fn has_allocator_value(parameter: &str) -> bool {
    const WORDS: [&str; 16] = [
        "true", "false", "min", "max", "config", "r9c", "r10b", "r11b", "all", "no", "code",
        "libc", "aobf", "aoff", "gf", "af",
    ];
    const STRATEGIES: [&str; 5] = ["bf", "aoffcbf", "aoffcaobf", "ageffcaoff", "ageffcbf"];
    let is_named_so = parameter.ends_with("mcbf");
    parameter.ends_with(|last: char| last.is_ascii_digit())
        || WORDS.iter().any(|word| parameter.ends_with(word))
        || (!is_named_so && STRATEGIES.iter().any(|strategy| parameter.ends_with(strategy)))
}

fn may_follow(kind: Value, rest: &str) -> bool {
    match kind {
        Value::Nothing => false,
        Value::Attached | Value::Allocator | Value::Any | Value::Word(..) => true,
        Value::Break => matches!(rest, "c" | "d" | "i"),
        Value::Bool(_) | Value::TimeCorrection => rest == "true" || rest == "false",
        Value::Schedulers | Value::SchedulersPercent => {
            rest.starts_with(|first: char| first.is_ascii_digit() || ":-".contains(first))
        }
        Value::Number { .. } => {
            rest.starts_with(|first: char| first.is_ascii_digit() || first == ':')
        }
    }
}

fn check(name: &str, kind: Value, value: &str) -> Result<(), String> {
    match kind {
        Value::Number { min, max, what } => match value.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            Ok(_) => Err(format!("{name}: bad {what} {value}: it can be {min} to {max}")),
            Err(_) => Err(format!("{name}: bad {what} {value}: it is a number")),
        },
        Value::Bool(_) if value == "true" || value == "false" => Ok(()),
        Value::Word(_, words) if words.contains(&value) => Ok(()),
        Value::Word(what, words) => Err(format!("{name}: bad {what} {value}: it can be {}", words.join(", "))),
        Value::Bool(what) => Err(format!("{name}: bad {what} value {value}: it can be true or false")),
        Value::Schedulers => two_numbers(value).map(drop).ok_or_else(|| {
            format!("{name}: bad number of schedulers {value}: it is a number, or two with a colon between")
        }),
        Value::SchedulersPercent => match two_numbers(value) {
            Some(both) if [both.0, both.1].into_iter().flatten().all(|percent| percent >= 0) => Ok(()),
            _ => Err(format!("{name}: bad percentage of schedulers {value}: it is a number from 0 on, or two with a colon between")),
        },
        Value::Nothing | Value::Attached | Value::Break | Value::Allocator | Value::Any | Value::TimeCorrection => Ok(()),
    }
}

/// `8`, `8:4` or `:4`; numbers may be negative.
fn two_numbers(text: &str) -> Option<(Option<i64>, Option<i64>)> {
    let (first, second) =
        text.split_once(':').map_or((text, None), |(first, second)| (first, Some(second)));
    let first = if first.is_empty() && second.is_some() { None } else { Some(first.parse().ok()?) };
    let second = second.map(str::parse).transpose().ok()?;
    Some((first, second))
}

/// Schedulers, and how many of them are online at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedulers {
    pub total: usize,
    pub online: usize,
}

impl Schedulers {
    /// These defaults as `+S` or `+SP` changes them.
    ///
    /// # Errors
    /// When more were online than there are, or none, or more than OTP can have.
    pub fn changed_by(self, flag: &str, value: &str) -> Result<Schedulers, String> {
        let (first, second) = two_numbers(value).unwrap_or_default();
        let (all, online) = (self.total as i64, self.online as i64);
        let (total, online) = if flag == "+SP" {
            let part = |count: i64, percent: Option<i64>| {
                count.saturating_mul(percent.unwrap_or(100)) / 100
            };
            let total = part(all, first).max(1);
            // A total alone is the percentage of both, but no more are online than would be without
            // it.
            (total, part(online, second.or(first.map(|percent| percent.min(100)))).max(1))
        } else {
            let from = |count: i64, default: i64| {
                if count > 0 { count } else { default.saturating_add(count) }
            };
            (
                from(first.unwrap_or(all), all),
                from(second.unwrap_or(first.map_or(0, |first| first.min(online))), online),
            )
        };
        if !(1..=SCHEDULERS_MAX as i64).contains(&total) {
            return Err(format!(
                "{flag}: bad number of schedulers {total}: it can be 1 to {SCHEDULERS_MAX}"
            ));
        }
        if !(1..=total).contains(&online) {
            return Err(format!("{flag}: {online} schedulers cannot be online, of {total}"));
        }
        Ok(Schedulers { total: total as usize, online: online as usize })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<(&'static str, String, usize), String> {
        let arguments: Vec<String> =
            arguments.iter().map(|&argument| argument.to_owned()).collect();
        flag(&arguments).map(|flag| (flag.name, flag.value.to_owned(), flag.taken))
    }

    #[test]
    fn values_follow_or_are_attached() {
        assert_eq!(parsed(&["+P", "5000"]), Ok(("+P", "5000".to_owned(), 2)));
        assert_eq!(parsed(&["+P5000", "x"]), Ok(("+P", "5000".to_owned(), 1)));
        assert_eq!(parsed(&["+S4:2"]), Ok(("+S", "4:2".to_owned(), 1)));
        assert_eq!(parsed(&["+S", "-1:-1"]), Ok(("+S", "-1:-1".to_owned(), 2)));
        assert_eq!(parsed(&["+SP", ":50"]), Ok(("+SP", ":50".to_owned(), 2)));
        assert_eq!(parsed(&["+SDio", "3"]), Ok(("+SDio", "3".to_owned(), 2)));
        assert_eq!(parsed(&["+pcunicode", "x"]), Ok(("+pc", "unicode".to_owned(), 1)));
        assert_eq!(parsed(&["+Ww", "x"]), Ok(("+W", "w".to_owned(), 1)));
        assert_eq!(parsed(&["+sbwtdcpunone"]), Ok(("+sbwtdcpu", "none".to_owned(), 1)));
        assert_eq!(parsed(&["+C", "no_time_warp"]), Ok(("+C", "no_time_warp".to_owned(), 2)));
        assert_eq!(parsed(&["+c", "-noshell"]), Ok(("+c", "false".to_owned(), 1)));
        assert_eq!(parsed(&["+ctrue"]), Ok(("+c", "true".to_owned(), 1)));
        assert_eq!(parsed(&["+Bi"]), Ok(("+B", "i".to_owned(), 1)));
        assert_eq!(parsed(&["+B", "i"]), Ok(("+B", "i".to_owned(), 2)));
        assert_eq!(parsed(&["+B", "-noshell"]), Ok(("+B", String::new(), 1)));
        assert_eq!(parsed(&["+MBas", "aobf"]), Ok(("+M", "aobf".to_owned(), 2)));
        assert_eq!(parsed(&["+MBasaobf", "x"]), Ok(("+M", "Basaobf".to_owned(), 1)));
        assert_eq!(parsed(&["+MMamcbf", "4096"]), Ok(("+M", "4096".to_owned(), 2)));
        assert_eq!(parsed(&["+Mea", "min"]), Ok(("+M", "min".to_owned(), 2)));
        assert_eq!(parsed(&["+MBsbct512", "x"]), Ok(("+M", "Bsbct512".to_owned(), 1)));
    }

    #[test]
    fn bad_values_are_named() {
        for arguments in [
            &["+P", "5"][..],
            &["+S", "x"],
            &["+S", "1:"],
            &["+SP", "-1"],
            &["+SP", "x"],
            &["+K", "maybe"],
            &["+zz"],
            &["+t"],
            &["+A99999"],
        ] {
            assert!(
                parsed(arguments)
                    .is_err_and(|message| message.contains(arguments[0].get(..2).unwrap_or(""))),
                "{arguments:?}"
            );
        }
    }

    /// What `erl` answers on a machine with eight processors and a quota of four.
    #[test]
    fn schedulers_are_counted_as_otp_does() {
        let defaults = Schedulers { total: 8, online: 4 };
        let cases = [
            ("+S", "1", Some((1, 1))),
            ("+S", "6", Some((6, 4))),
            ("+S", "20", Some((20, 4))),
            ("+S", "6:5", Some((6, 5))),
            ("+S", ":1", Some((8, 1))),
            ("+S", "0:-1", Some((8, 3))),
            ("+S", "-3:0", Some((5, 4))),
            ("+S", "-1", Some((7, 3))),
            ("+S", "2:3", None),
            ("+S", "-8", None),
            ("+S", "0:-4", None),
            ("+S", "2000", None),
            ("+SP", "50", Some((4, 2))),
            ("+SP", "50:25", Some((4, 1))),
            ("+SP", ":50", Some((8, 2))),
            ("+SP", "1", Some((1, 1))),
            ("+SP", "200", Some((16, 4))),
            ("+S", "0", Some((8, 4))),
            ("+S", "1:0", None),
            ("+SP", "25:100", None),
        ];
        for (flag, value, wanted) in cases {
            let found =
                defaults.changed_by(flag, value).ok().map(|found| (found.total, found.online));
            assert_eq!(found, wanted, "{flag} {value}");
        }
    }
}
