//! Deflate, ending where the stream ends and saying when it breaks off: the
//! ready-made readers call both "no more bytes".

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

pub(crate) struct InflateReader<R> {
    input: R,
    engine: Decompress,
    ended: bool,
}

impl<R: BufRead> InflateReader<R> {
    pub fn new(input: R) -> Self {
        Self::with(input, None)
    }

    /// With the engine of a stream before: making one costs more than a small
    /// member takes to inflate.
    pub fn with(input: R, engine: Option<Decompress>) -> Self {
        let engine = match engine {
            Some(mut engine) => {
                engine.reset(false);
                engine
            }
            None => Decompress::new(false),
        };
        Self {
            input,
            engine,
            ended: false,
        }
    }

    pub fn into_engine(self) -> Decompress {
        self.engine
    }

    /// Starts a new stream where the last one ended.
    pub fn restart(&mut self) {
        self.engine.reset(false);
        self.ended = false;
    }

    /// What follows the stream.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }
}

impl<R: BufRead> Read for InflateReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buf.is_empty() {
            let input = self.input.fill_buf()?;
            let at_end = input.is_empty();
            let (in_before, out_before) = (self.engine.total_in(), self.engine.total_out());
            let status = self.engine.decompress(input, buf, FlushDecompress::None);
            let eaten = (self.engine.total_in() - in_before) as usize;
            let made = (self.engine.total_out() - out_before) as usize;
            self.input.consume(eaten);
            match status {
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(_) => {}
                Err(_) if made > 0 => {}
                Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
            }
            if made > 0 {
                return Ok(made);
            }
            if !self.ended && at_end {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "deflate stream breaks off",
                ));
            }
        }
        Ok(0)
    }
}
