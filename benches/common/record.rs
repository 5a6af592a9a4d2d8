//! The figures of one machine as they are kept in `results/`.

use super::gate::{Interval, Recorded, is_slower};
use super::machine::{Machine, Made};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs;
use std::path::{Path, PathBuf};

/// An interval, or a recorded ratio, as it stands in a file.
#[derive(Serialize, Deserialize)]
struct Stored {
    median: f64,
    low: f64,
    high: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tolerance: Option<f64>,
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Interval { median, low, high } = *self;
        Stored { median, low, high, tolerance: None }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Stored { median, low, high, .. } = Stored::deserialize(from)?;
        Ok(Interval { median, low, high })
    }
}

impl Serialize for Recorded {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Interval { median, low, high } = self.ratio;
        Stored { median, low, high, tolerance: Some(self.tolerance) }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Recorded {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Stored { median, low, high, tolerance } = Stored::deserialize(from)?;
        Ok(Recorded { ratio: Interval { median, low, high }, tolerance: tolerance.unwrap_or_default() })
    }
}

/// One kernel on one shape, level and number of threads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// `op/dtype/shape/level/threads`. The level `best` is whatever gradix chooses by itself.
    pub id: String,
    /// Its name in the comparison with other libraries, or nothing.
    pub peer: String,
    pub op: String,
    pub dtype: String,
    pub shape: String,
    pub level: String,
    pub threads: usize,
    pub elements: usize,
    pub bytes: usize,
    /// How often the plain loop, on one thread, takes as long.
    pub speedup: Recorded,
    /// The limit's time as a part of gradix's.
    pub of_limit: Recorded,
    /// What the limit is: `scale`, `memcpy`, `add` or `sum`, and whether its stores are streaming ones.
    pub limit: String,
    pub seconds: Interval,
    #[serde(alias = "textbook_seconds")]
    pub loop_seconds: Interval,
    pub limit_seconds: Interval,
    pub reference_seconds: f64,
    /// Whether these were taken on a part of the shape.
    #[serde(default)]
    pub reference_is_scaled: bool,
    /// In each pass.
    pub rounds: Vec<usize>,
    pub made: Made,
}

/// `speedups.json`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Speedups {
    pub machine: Machine,
    pub rows: Vec<Row>,
}

/// A case beside other libraries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Compared {
    /// Its name: G1, T1, S1 1%, X1, …
    pub case: String,
    /// `op/dtype/shape`
    pub id: String,
    pub threads: usize,
    pub gradix_seconds: Interval,
    pub peers: Vec<PeerFigure>,
    pub made: Made,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerFigure {
    pub name: String,
    pub seconds: Interval,
    /// How often the peer takes as long as gradix.
    pub ratio: Interval,
}

/// `peers.json`, and `python.json`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Peers {
    pub machine: Machine,
    /// Each library and its version.
    pub versions: Vec<(String, String)>,
    /// What could not be compared with, and why.
    pub absent: Vec<(String, String)>,
    pub rows: Vec<Compared>,
}

/// A point of a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    pub line: String,
    pub x: f64,
    pub y: f64,
}

/// `curves.json`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Curves {
    pub machine: Machine,
    pub made: Made,
    /// Nanoseconds an element against the percentage of hits.
    pub selectivity: Vec<Point>,
    /// Nanoseconds an element against the bytes read and written; lines `op/side`.
    pub sizes: Vec<Point>,
    /// Gigabytes a second against the number of threads.
    pub limits: Vec<Point>,
}

/// How a program calls an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// From the main thread, after some milliseconds of serial work: as a training loop does. The pool's workers sleep.
    OutsideAfterWork,
    /// From the main thread, one call after the other.
    Outside,
    /// From a task of the pool, after serial work.
    InsideAfterWork,
    /// From a task of the pool, one call after the other.
    Inside,
}

impl Way {
    pub const ALL: [Way; 4] = [Way::OutsideAfterWork, Way::Outside, Way::InsideAfterWork, Way::Inside];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Way::OutsideAfterWork => "outside the pool, after serial work",
            Way::Outside => "outside, back to back",
            Way::InsideAfterWork => "inside the pool, after serial work",
            Way::Inside => "inside, back to back",
        }
    }
}

/// An operation at one size, called in one way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shared {
    pub op: String,
    pub elements: usize,
    pub way: Way,
    /// On one thread, and on as many as there are CPUs.
    pub one_seconds: Interval,
    pub all_seconds: Interval,
    /// How often one thread takes as long as all.
    pub ratio: Interval,
}

impl Shared {
    /// Whether more threads make it slower, by more than noise and by 3 %.
    pub fn is_slower(&self) -> bool {
        self.ratio.median < 0.97 && self.ratio.high < 1.0
    }
}

/// `parallel.json`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Parallel {
    pub machine: Machine,
    pub made: Made,
    pub rows: Vec<Shared>,
}

/// An operation at a shape that was drawn, beside the plain loop.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Swept {
    pub op: String,
    pub shape: String,
    /// Of its arrays.
    pub bytes: usize,
    pub loop_seconds: f64,
    pub seconds: f64,
    /// How often the loop takes as long: the median of paired rounds.
    pub ratio: f64,
    /// What the call may cost beside the loop.
    pub door: f64,
}

impl Swept {
    /// Whether it is slower than the loop by more than noise, and by more than a call may cost.
    pub fn is_slower(&self) -> bool {
        is_slower(self.ratio, self.seconds - self.loop_seconds, self.door)
    }
}

/// `sweep.json`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sweep {
    pub machine: Machine,
    pub made: Made,
    pub seed: u64,
    pub rows: Vec<Swept>,
}

impl Sweep {
    /// Each operation, in the order of the rows, and its rows.
    pub fn operations(&self) -> Vec<(&str, Vec<&Swept>)> {
        let mut operations: Vec<(&str, Vec<&Swept>)> = Vec::new();
        for row in &self.rows {
            match operations.iter_mut().find(|(op, _)| *op == row.op) {
                Some((_, rows)) => rows.push(row),
                None => operations.push((&row.op, vec![row])),
            }
        }
        operations
    }
}

/// The folder `results/` of this repository.
pub fn results() -> PathBuf {
    // From benches/, or from benches/peers.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|folder| folder.join("CHANGELOG.md").exists()).unwrap_or(here).join("results")
}

/// A file of a machine's figures, where it exists. A file that cannot be parsed is an error, so that it is not overwritten.
pub fn load<T: DeserializeOwned>(machine: &str, file: &str) -> Option<T> {
    let path = results().join(machine).join(file);
    let text = fs::read_to_string(&path).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

pub fn save<T: Serialize>(machine: &str, file: &str, figures: &T) -> PathBuf {
    let folder = results().join(machine);
    fs::create_dir_all(&folder).expect("a folder to write figures to");
    let path = folder.join(file);
    let text = serde_json::to_string_pretty(figures).expect("figures are plain data");
    fs::write(&path, text + "\n").expect("a file to write figures to");
    path
}
