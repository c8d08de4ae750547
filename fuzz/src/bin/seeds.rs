//! The corpora to start from: `seeds TARGET FOLDER FILE.beam…`
//!
//! For `load_beam` the small modules among the files, without what the loader ignores and with
//! nothing compressed. For `external_term` their literals, and terms in the formats that no
//! compiler writes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use swarmrt_beam::file::BeamFile;
use swarmrt_fuzz::chunks::normalised;

const MODULE_BYTES_MAX: usize = 6 * 1024;
const LITERAL_BYTES_MAX: usize = 512;
/// OTP has far more literals than are needed to begin with.
const LITERALS_TAKEN_ONE_IN: usize = 8;

/// Identifiers, old formats, and terms at the limits of a format, without their version byte.
const TERMS: &[&[u8]] = &[
    b"X\x77\x0dnonode@nohost\0\0\0\x50\0\0\0\0\0\0\0\0",
    b"X\x77\x03a@b\0\0\0\x50\0\0\0\0\0\0\0\x01",
    b"g\x64\0\x03a@b\0\0\0\x50\0\0\0\0\x01",
    b"Y\x77\x0dnonode@nohost\0\0\0\x05\0\0\0\0",
    b"x\x77\x0dnonode@nohost\0\0\0\x05\0\0\0\x01\0\0\0\0",
    b"f\x64\0\x03a@b\0\0\0\x05\x01",
    b"Z\0\x03\x77\x0dnonode@nohost\0\0\0\0\0\x01\x02\x03\0\0\0\x01\0\0\0\x02",
    b"Z\0\x05\x77\x03a@b\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
    b"r\0\x02\x64\0\x03a@b\x01\0\0\0\x01\0\0\0\x02",
    b"e\x64\0\x03a@b\0\0\0\x01\x01",
    b"c1.50000000000000000000e+00\0\0\0\0\0",
    b"F\x7f\xef\xff\xff\xff\xff\xff\xff",
    b"F\0\0\0\0\0\0\0\x01",
    b"F\x80\0\0\0\0\0\0\0",
    b"M\0\0\0\x02\x03\xff\xe0",
    b"n\x08\0\xff\xff\xff\xff\xff\xff\xff\x1f",
    b"n\x08\x01\0\0\0\0\0\0\0\x20",
    b"o\0\0\x01\0\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"q\x77\x05lists\x77\x03map\x61\x02",
    b"p\0\0\0\x2f\x010123456789abcdef\0\0\0\0\0\0\0\x01\x77\x01m\x61\0\x62\0\0\0\x07X\x77\x03a@b\0\0\0\x50\0\0\0\0\0\0\0\x01\x61\x01",
    b"l\0\0\0\x02\x61\x01\x77\x01a\x77\x01b",
    b"k\0\x03abc",
    b"t\0\0\0\x02\x61\x01\x77\x01a\x6a\x77\x01b",
    b"i\0\0\0\x01h\0",
    b"w\x02\xc3\xa5",
    b"s\x01\xe5",
];

/// Three bytes that say which kind and limits, then packets; see `fuzz_targets/packet.rs`.
const PACKETS: &[&[u8]] = &[
    b"\x00\0\0raw",
    b"\x01\0\0\x03abc\0\x01x",
    b"\x02\0\0\0\x03abc",
    b"\x03\x08\0\0\0\0\x03abc",
    b"\x04\0\0\x30\x03abc\x3f\x81\x01\x82\0\x01x",
    b"\x05\0\0\x80\0\0\x03abc",
    b"\x06\0\0GIOP\x01\0\x01\0\x03\0\0\0abc",
    b"\x07\0\0\x01\0\0\0\0\x03\x02\0abc__",
    b"\x08\0\x08one\ntwo is longer\n",
    b"\x09\0\0\x03\0\0\x07abc",
    b"\x0a\0\0\x16\x03\x01\0\x03abc\x80\x05\x01\x03\x01ab",
    b"\x0b\0\0GET http://[::1]:80/a HTTP/1.1\r\n",
    b"\x8c\0\0HTTP/1.1 404 Not Found\r\n",
    b"\x0d\0\0Host: there\r\nX-Own: a\r\n b\r\n\r\n",
    b"\x8e\0\0Content-Length: 9\n\nrest",
];

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(target), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: seeds TARGET FOLDER FILE.beam...");
        std::process::exit(2);
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    if target == "external_term" {
        for term in TERMS {
            save(folder, &[&[131], *term].concat())?;
        }
    }
    if target == "packet" {
        return PACKETS.iter().try_for_each(|packet| save(folder, packet));
    }
    for path in arguments {
        let bytes = std::fs::read(path)?;
        if target == "load_beam" {
            match normalised(&bytes) {
                Some(module) if module.len() <= MODULE_BYTES_MAX => save(folder, &module)?,
                _ => {}
            }
        } else {
            let literals = BeamFile::parse(&bytes).map(|file| file.literals).unwrap_or_default();
            for literal in literals.iter().filter(|literal| literal.len() <= LITERAL_BYTES_MAX).step_by(LITERALS_TAKEN_ONE_IN) {
                save(folder, literal)?;
            }
        }
    }
    Ok(())
}

/// Under a name that says what is inside, so that nothing is there twice.
fn save(folder: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    std::fs::write(folder.join(format!("seed-{:016x}", hasher.finish())), bytes)
}
