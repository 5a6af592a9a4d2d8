//! One call of every kernel, large enough for threads to share, and all that it answers as one number.

use gradix::{AbsGt, Float, Level, Loss, Reduction, SoftmaxXent, View, ViewMut, select};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The data of the calls.
pub struct Jobs {
    x: Vec<f32>,
    y: Vec<f64>,
    indices: Vec<u32>,
    classes: usize,
}

/// The names of the jobs, in the order of [`Jobs::run`].
pub const NAMES: [&str; 9] = [
    "take",
    "take_axis",
    "scatter_add",
    "scatter_add_axis",
    "select",
    "sparsify",
    "top_k_threshold",
    "rows",
    "columns",
];

impl Jobs {
    /// Calls on about so many elements.
    pub fn new(len: usize) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let len = len.next_multiple_of(64);
        Jobs {
            x: (0..len).map(|_| (next() >> 40) as f32 / 2f32.powi(20) - 8.0).collect(),
            y: (0..len).map(|_| (next() >> 11) as f64 / 2f64.powi(50) - 4.0).collect(),
            indices: (0..len).map(|_| (next() % (len as u64 / 64)) as u32).collect(),
            classes: len / 64,
        }
    }

    /// The answer of job number `job` (see [`NAMES`]), as a number that every bit of it has a part in.
    pub fn run(&self, job: usize) -> u64 {
        let Jobs { x, y, indices, classes } = self;
        let (rows, classes) = (x.len() / classes, *classes);
        let tall = [classes, rows];
        let mut hash = DefaultHasher::new();
        match job {
            0 => bits(&gradix::take(x, indices).unwrap(), &mut hash),
            1 => {
                let list = &indices[..classes];
                bits(&gradix::take_axis(View::new(y, &tall).unwrap(), 0, list).unwrap(), &mut hash);
            }
            2 => {
                let mut dst = x.clone();
                gradix::scatter_add(&mut dst, indices, x).unwrap();
                bits(&dst, &mut hash);
            }
            3 => {
                let mut dst = y.clone();
                let list = &indices[..classes];
                gradix::scatter_add_axis(ViewMut::new(&mut dst, &tall).unwrap(), 0, list, y).unwrap();
                bits(&dst, &mut hash);
            }
            4 => {
                let (hits, values): (Vec<u32>, _) = select::pairs(x, AbsGt(3.0)).unwrap();
                hits.hash(&mut hash);
                bits(&values, &mut hash);
            }
            5 => {
                let mut residual = x.clone();
                let (hits, values): (Vec<u64>, _) =
                    select::sparsify_with(x, &mut residual, AbsGt(9.0)).unwrap();
                hits.hash(&mut hash);
                bits(&values, &mut hash);
                bits(&residual, &mut hash);
            }
            6 => bits(&[select::top_k_threshold(y, y.len() / 10).unwrap()], &mut hash),
            7 => {
                let mut grad = vec![0.0; x.len()];
                let wide = View::new(x, &[rows, classes]).unwrap();
                let loss = SoftmaxXent::new().forward_backward(wide, &indices[..rows], &mut grad).unwrap();
                self.answer(loss, &grad, &mut hash);
                // One row of all.
                let loss = SoftmaxXent::new().forward_backward(x, &indices[..1], &mut grad).unwrap();
                self.answer(loss, &grad, &mut hash);
            }
            _ => {
                let mut grad = vec![0.0; y.len()];
                let labels: Vec<u32> = indices[..classes].iter().map(|i| i % rows as u32).collect();
                let xent = SoftmaxXent::new().reduction(Reduction::Sum).label_smoothing(0.1);
                let loss = xent.forward_backward(View::new(y, &tall).unwrap(), &labels, &mut grad).unwrap();
                self.answer(loss, &grad, &mut hash);
            }
        }
        hash.finish()
    }

    /// All answers at this level.
    pub fn run_all(&self, level: Level) -> Vec<u64> {
        level.run(|| (0..NAMES.len()).map(|job| self.run(job)).collect()).unwrap()
    }

    fn answer<T: Float>(&self, loss: Loss<T>, grad: &[T], hash: &mut DefaultHasher) {
        bits(&[loss.value], hash);
        bits(grad, hash);
    }
}

fn bits<T: Float>(x: &[T], hash: &mut DefaultHasher) {
    x.iter().for_each(|x| x.to_f64().to_bits().hash(hash));
}
