//! A gzip body that is small on the wire and large when opened, written without a compressor.
//!
//! One deflate block with the fixed codes: the opening text as literals, then "258 bytes from one byte back" over and over, then
//! the closing text. Thirteen bits stand for 258 bytes, a ratio of 158.

/// `prefix`, then at least `fill` times the letter `a`, then `suffix`; ASCII only.
pub(super) fn bomb(prefix: &str, fill: u64, suffix: &str) -> Vec<u8> {
    let runs = fill.div_ceil(RUN as u64);
    let mut bits = Bits { out: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], pending: 0, count: 0 };
    bits.push(0b011, 3); // the last block, fixed codes
    prefix.bytes().for_each(|byte| bits.literal(byte));
    bits.literal(b'a');
    (0..runs).for_each(|_| bits.run());
    suffix.bytes().for_each(|byte| bits.literal(byte));
    bits.code(0, 7); // end of block
    bits.finish(checksum(prefix, runs, suffix))
}

const RUN: usize = 258;

fn checksum(prefix: &str, runs: u64, suffix: &str) -> (u32, u32) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(prefix.as_bytes());
    crc.update(b"a");
    (0..runs).for_each(|_| crc.update(&[b'a'; RUN]));
    crc.update(suffix.as_bytes());
    let length = prefix.len() as u64 + 1 + runs * RUN as u64 + suffix.len() as u64;
    (crc.finalize(), (length & 0xffff_ffff) as u32)
}

struct Bits {
    out: Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits {
    /// Low bits first, as deflate packs everything but its codes.
    fn push(&mut self, value: u32, width: u32) {
        self.pending |= value << self.count;
        self.count += width;
        while self.count >= 8 {
            self.out.push((self.pending & 0xff) as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Codes go high bit first.
    fn code(&mut self, value: u32, width: u32) {
        self.push(value.reverse_bits() >> (32 - width), width);
    }

    /// Bytes below 144 have eight-bit codes from 0x30; more is not needed for ASCII.
    fn literal(&mut self, byte: u8) {
        self.code(0x30 + u32::from(byte), 8);
    }

    /// Length code 285 (258 bytes), distance code 0 (one back).
    fn run(&mut self) {
        self.code(0b1100_0101, 8);
        self.code(0, 5);
    }

    fn finish(mut self, (crc, length): (u32, u32)) -> Vec<u8> {
        if self.count > 0 {
            self.push(0, 8 - self.count);
        }
        self.out.extend(crc.to_le_bytes());
        self.out.extend(length.to_le_bytes());
        self.out
    }
}
