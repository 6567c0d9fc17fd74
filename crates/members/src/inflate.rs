//! Deflate decoder that stops at the end of the stream and reports a truncated
//! stream as an error. The readers of `flate2` report both as "no more bytes".

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

pub(crate) struct InflateReader<R> {
    input: R,
    engine: Decompress,
    ended: bool,
}

impl<R: BufRead> InflateReader<R> {
    pub fn new(input: R) -> Self {
        Self::with_engine(input, None)
    }

    /// Reuses the engine of a previous stream: creating one costs more than
    /// decompressing a small member.
    pub fn with_engine(input: R, engine: Option<Decompress>) -> Self {
        let mut reader = Self {
            input,
            engine: engine.unwrap_or_else(|| Decompress::new(false)),
            ended: false,
        };
        reader.restart();
        reader
    }

    pub fn into_engine(self) -> Decompress {
        self.engine
    }

    /// Starts a new stream at the current position of the input.
    pub fn restart(&mut self) {
        self.engine.reset(false);
        self.ended = false;
    }

    /// The input; after the end of the stream, the bytes that follow it.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }
}

impl<R: BufRead> Read for InflateReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buf.is_empty() {
            let input = self.input.fill_buf()?;
            let is_input_end = input.is_empty();
            let (in_before, out_before) = (self.engine.total_in(), self.engine.total_out());
            let status = self.engine.decompress(input, buf, FlushDecompress::None);
            let consumed = (self.engine.total_in() - in_before) as usize;
            let produced = (self.engine.total_out() - out_before) as usize;
            self.input.consume(consumed);
            match status {
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(_) => {}
                Err(_) if produced > 0 => {}
                Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
            }
            if produced > 0 {
                return Ok(produced);
            }
            if !self.ended && is_input_end {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "deflate stream is truncated",
                ));
            }
        }
        Ok(0)
    }
}
