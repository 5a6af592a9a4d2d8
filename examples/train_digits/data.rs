//! The digits: read from a file, checked, shuffled, and divided.

use anyhow::{Context, Result, bail, ensure};
use csv::{ReaderBuilder, StringRecord};
use rand::seq::SliceRandom;
use std::path::Path;

/// Pixels of an image, row after row.
pub const PIXELS: usize = 64;
/// The digits 0 to 9.
pub const CLASSES: usize = 10;
/// The darkest pixel.
const DARKEST: u8 = 16;

/// Images and the digits they show.
#[derive(Debug, Default, PartialEq)]
pub struct Digits {
    /// [`PIXELS`] values from 0 to 1 for each image, image after image.
    pub images: Vec<f32>,
    /// The digit that each image shows.
    pub labels: Vec<u8>,
}

impl Digits {
    /// Reads lines of [`PIXELS`] pixels and a label. An error names the file, the line and the cause.
    pub fn read(file: &Path) -> Result<Digits> {
        let mut digits = Digits::default();
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true) // rows are measured here, where the message can name the line
            .from_path(file)
            .map_err(|error| at(file, error))?;
        for record in reader.records() {
            let record = record.map_err(|error| at(file, error))?;
            let line = record.position().map_or(0, |position| position.line());
            digits.push(&record).with_context(|| format!("{}:{line}", file.display()))?;
        }
        Ok(digits)
    }

    fn push(&mut self, record: &StringRecord) -> Result<()> {
        ensure!(
            record.len() == PIXELS + 1,
            "{} values where {PIXELS} pixels and a label are needed",
            record.len()
        );
        for (column, field) in record.iter().take(PIXELS).enumerate() {
            match field.trim().parse::<u8>() {
                Ok(pixel) if pixel <= DARKEST => self.images.push(f32::from(pixel) / f32::from(DARKEST)),
                _ => bail!("pixel {} is {field:?}, not a number from 0 to {DARKEST}", column + 1),
            }
        }
        match record[PIXELS].trim().parse::<u8>() {
            Ok(label) if usize::from(label) < CLASSES => self.labels.push(label),
            _ => bail!("the label is {:?}, not a digit from 0 to {}", &record[PIXELS], CLASSES - 1),
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The labels of these rows.
    pub fn labels_of(&self, rows: &[u32]) -> Vec<u8> {
        rows.iter().map(|&row| self.labels[row as usize]).collect()
    }

    /// The rows of the images to train on and of those to hold out: a fifth, chosen by `rng`.
    pub fn divide(&self, rng: &mut impl rand::Rng) -> (Vec<u32>, Vec<u32>) {
        let mut rows: Vec<u32> = (0..self.len() as u32).collect();
        rows.shuffle(rng);
        let held_out = rows.split_off(self.len() - self.len().div_ceil(5));
        (rows, held_out)
    }
}

/// The error with its file, and its line where it has one.
fn at(file: &Path, error: csv::Error) -> anyhow::Error {
    let line = error.position().map_or(String::new(), |position| format!(":{}", position.line()));
    let place = format!("{}{line}", file.display());
    match error.into_kind() {
        csv::ErrorKind::Io(cause) => anyhow::Error::new(cause).context(place),
        csv::ErrorKind::Utf8 { err, .. } => anyhow::Error::new(err).context(place),
        other => anyhow::anyhow!("{other:?}").context(place),
    }
}
