//! A `.beam` file as its chunks, so that a mutation of one need not die at the framing.

use swarmrt_beam::file::BeamFile;

/// What the loader never looks at.
const IGNORED: [&[u8; 4]; 5] = [b"Dbgi", b"Docs", b"Abst", b"ExCk", b"CInf"];

pub struct Chunks(pub Vec<([u8; 4], Vec<u8>)>);

impl Chunks {
    /// The chunks of an uncompressed file whose framing is right.
    pub fn of(bytes: &[u8]) -> Option<Chunks> {
        let [b'F', b'O', b'R', b'1', _, _, _, _, b'B', b'E', b'A', b'M', rest @ ..] = bytes else { return None };
        let mut rest = rest;
        let mut chunks = Vec::new();
        while let Some((head, data)) = rest.split_at_checked(8) {
            let size = u32::from_be_bytes(head[4..].try_into().ok()?) as usize;
            chunks.push((head[..4].try_into().ok()?, data.get(..size)?.to_vec()));
            rest = data.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Chunks(chunks))
    }

    /// The file with these chunks.
    pub fn file(&self) -> Vec<u8> {
        let mut form = b"BEAM".to_vec();
        for (name, data) in &self.0 {
            form.extend(name);
            form.extend((data.len() as u32).to_be_bytes());
            form.extend(data);
            form.resize(form.len().next_multiple_of(4), 0);
        }
        let mut file = b"FOR1".to_vec();
        file.extend((form.len() as u32).to_be_bytes());
        file.extend(form);
        file
    }

    pub fn get_mut(&mut self, wanted: &[u8; 4]) -> Option<&mut Vec<u8>> {
        self.0.iter_mut().find(|(name, _)| name == wanted).map(|(_, data)| data)
    }
}

/// The same module without what the loader ignores and with nothing compressed.
pub fn normalised(bytes: &[u8]) -> Option<Vec<u8>> {
    let file = BeamFile::parse(bytes).ok()?;
    let mut chunks = Chunks::of(bytes)?;
    chunks.0.retain(|(name, _)| !IGNORED.contains(&name));
    if let Some(literals) = chunks.get_mut(b"LitT") {
        // A size of 0 says: not compressed.
        *literals = [0, file.literals.len() as u32].iter().flat_map(|number| number.to_be_bytes()).collect();
        for literal in &file.literals {
            literals.extend((literal.len() as u32).to_be_bytes());
            literals.extend(literal);
        }
    }
    Some(chunks.file())
}
