//! A linear layer and its cross-entropy, forward and backward: `LinearXent` beside candle and burn as people write it,
//! which is a layer, the library's cross-entropy, and `backward`. Gradients of x, of the weight and of the bias.
//!
//! ```text
//! cargo run --release --bin linear                   from this folder: every shape, on one thread and on all
//! cargo run --release --bin linear -- --record       and keep it, as results/<machine>/linear.json
//! cargo run --release --bin linear -- --filter 1000  only shapes that contain this
//! ```
//!
//! The loss and all gradients are compared before anybody is timed. Each number of threads has a process of its own, as
//! candle takes its number from the environment. All three multiply by the crate `gemm`, here with AVX-512.

#[path = "../../common/mod.rs"]
mod common;
mod kept;
mod peer;

use clap::{Arg, ArgAction, Command};
use common::data::{Buffer, Order, indices, normal};
use common::machine::Made;
use common::paired::{Rounds, StopRule};
use common::record::{Compared, PeerFigure};
use common::{numbers, pool, thread_counts};
use gradix::{Linear, LinearGradients, LinearXent, SoftmaxXent, View};
use peer::Peer;
use std::process::Stdio;
use std::time::Duration;

const FILE: &str = "linear.json";
const STOP: StopRule = StopRule { rounds: 9, width: 0.05, budget: Duration::from_secs(8) };
/// How far a gradient may be from gradix's, to the largest of its tensor: sums in another order.
const TOLERANCE: f64 = 1e-4;

/// Rows, columns, classes, and whether there is a bias. 4,096 rows of 50,257 classes would cost the others some 20 GB.
const SHAPES: [([usize; 3], bool); 10] = [
    ([65_536, 64, 10], false),
    ([65_536, 64, 10], true),
    ([777, 129, 17], true),
    ([4096, 256, 100], false),
    ([4096, 512, 1000], false),
    ([1001, 300, 3003], true),
    ([2048, 512, 8192], false),
    ([1024, 4096, 32_000], false),
    ([1024, 768, 50_257], false),
    ([512, 512, 128_256], false),
];

fn name(&([n, k, c], bias): &([usize; 3], bool)) -> String {
    format!("{n} x {k}, {c}{}", if bias { ", bias" } else { "" })
}

fn main() {
    let arguments = Command::new("linear")
        .about("LinearXent beside candle and burn")
        .arg(
            Arg::new("record").long("record").action(ArgAction::SetTrue).help("Keep the figures in results/"),
        )
        .arg(Arg::new("filter").long("filter").help("Only shapes that contain this"))
        .arg(Arg::new("threads").long("threads").value_parser(clap::value_parser!(usize)).hide(true))
        .get_matches();
    let filter = arguments.get_one::<String>("filter").map_or("", |filter| filter);
    let shapes: Vec<_> = SHAPES.iter().filter(|shape| name(shape).contains(filter)).collect();
    if let Some(&threads) = arguments.get_one::<usize>("threads") {
        let rows: Vec<Compared> = shapes.into_iter().map(|shape| compare(shape, threads)).collect();
        return println!("{}", serde_json::to_string(&rows).expect("figures are plain data"));
    }
    let rows: Vec<Compared> = thread_counts().into_iter().flat_map(|threads| on(threads, filter)).collect();
    kept::print(&rows);
    if arguments.get_flag("record") {
        let order = SHAPES.each_ref().map(name);
        kept::keep(FILE, rows, Vec::new(), &order.each_ref().map(String::as_str));
    }
}

/// All shapes, in a process that knows of so many threads.
fn on(threads: usize, filter: &str) -> Vec<Compared> {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program)
        .args(["--threads", &threads.to_string(), "--filter", filter])
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stderr(Stdio::inherit())
        .output()
        .expect("this program again");
    assert!(output.status.success(), "measuring on {threads} threads failed");
    serde_json::from_slice(&output.stdout).expect("what this program prints")
}

/// What a step needs.
struct Layer {
    shape: [usize; 3],
    x: Buffer<f32>,
    weight: Buffer<f32>,
    bias: Option<Buffer<f32>>,
    labels: Buffer<u32>,
}

fn compare(shape: &([usize; 3], bool), threads: usize) -> Compared {
    let &([n, k, c], has_bias) = shape;
    eprintln!("{}, {threads} threads", name(shape));
    let scale = (k as f32).sqrt().recip();
    let mut weight = normal(c * k);
    weight.iter_mut().for_each(|w: &mut f32| *w *= scale);
    let layer = Layer {
        shape: [n, k, c],
        x: normal(n * k),
        weight,
        bias: has_bias.then(|| normal(c)),
        labels: indices(n, c, Order::Random),
    };
    let mut sides = [gradix_side(&layer), candle_side(&layer), burn_side(&layer)];
    drop(layer);
    let lengths = [n * k, c * k, if has_bias { c } else { 0 }, 1];
    let rounds = pool(threads).install(|| {
        let expected = sides[0].answer();
        for side in &mut sides[1..] {
            let answer = side.answer();
            assert_equal(&lengths, &expected, &answer, side.name);
        }
        Rounds::run(&[0, 1, 2], &[(1, 0), (2, 0)], STOP, |side| sides[side].run())
    });
    let figure = |side: usize| PeerFigure {
        name: sides[side].name.to_string(),
        seconds: rounds.seconds(side),
        ratio: rounds.ratio(side, 0),
    };
    Compared {
        case: name(shape),
        id: format!("linear_xent/f32/{n}x{k}x{c}{}", if has_bias { "_bias" } else { "" }),
        threads,
        gradix_seconds: rounds.seconds(0),
        peers: [1, 2].map(figure).into(),
        made: Made::now(),
    }
}

/// Of tensors of these lengths, one after the other.
fn assert_equal(lengths: &[usize], expected: &[f64], answer: &[f64], who: &str) {
    assert!(
        expected.len() == answer.len() && answer.len() == lengths.iter().sum::<usize>(),
        "{who}: other lengths"
    );
    let mut first = 0;
    for (tensor, &len) in ["dx", "dW", "db", "the loss"].into_iter().zip(lengths) {
        let (expected, answer) = (&expected[first..][..len], &answer[first..][..len]);
        let largest = expected.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        let off = expected.iter().zip(answer).fold(0.0f64, |off, (a, b)| off.max((a - b).abs()));
        assert!(
            off <= TOLERANCE * largest,
            "{who}: {tensor} is off by {off:e}, the largest being {largest:e}"
        );
        first += len;
    }
}

fn gradix_side(layer: &Layer) -> Peer {
    let [n, k, c] = layer.shape;
    let bias = layer.bias.as_ref().map(|bias| bias.to_vec());
    let (x, weight, labels) = (layer.x.to_vec(), layer.weight.to_vec(), layer.labels.to_vec());
    let zeros = Buffer::<f32>::zeros;
    let kept = (zeros(n * k), zeros(c * k), zeros(if bias.is_some() { c } else { 0 }), 0.0);
    let step = move |(dx, dw, db, loss): &mut (Buffer<f32>, Buffer<f32>, Buffer<f32>, f32)| {
        let x = View::new(&x, &[n, k]).expect("a matrix");
        let mut linear = Linear::new(x, View::new(&weight, &[c, k]).expect("a matrix"));
        let mut to = LinearGradients::new().x(&mut dx[..]).weight(&mut dw[..]);
        if let Some(bias) = &bias {
            linear = linear.bias(&bias[..]);
            to = to.bias(&mut db[..]);
        }
        let xent = LinearXent::new(SoftmaxXent::new());
        *loss = xent.forward_backward(linear, &labels, to).expect("a layer").value;
    };
    Peer::into("gradix", kept, step, |(dx, dw, db, loss)| {
        [numbers(dx), numbers(dw), numbers(db), numbers(&[*loss])].concat()
    })
}

fn candle_side(layer: &Layer) -> Peer {
    use candle_nn::{Linear, Module, loss};
    use peer::candle::{self, Tensor, Var};
    let [n, k, c] = layer.shape;
    let variable = |data: &[f32], shape: &[usize]| -> Var {
        Var::from_tensor(&candle::tensor(data, shape)).expect("a variable")
    };
    let (x, weight) = (variable(&layer.x, &[n, k]), variable(&layer.weight, &[c, k]));
    let bias = layer.bias.as_ref().map(|bias| variable(bias, &[c]));
    let labels = candle::tensor(&layer.labels, &[n]);
    let linear = Linear::new(weight.as_tensor().clone(), bias.as_ref().map(|bias| bias.as_tensor().clone()));
    let step = move || {
        let logits = linear.forward(&x).expect("logits");
        let loss = loss::cross_entropy(&logits, &labels).expect("a loss");
        drop(logits);
        let mut gradients = loss.backward().expect("gradients");
        let wanted = [Some(&x), Some(&weight), bias.as_ref()].into_iter().flatten();
        let mut answer: Vec<Tensor> =
            wanted.map(|of| gradients.remove(of.as_tensor()).expect("a gradient")).collect();
        answer.push(loss);
        answer
    };
    Peer::new("candle", step, |answer| answer.into_iter().flat_map(candle::numbers).collect())
}

fn burn_side(layer: &Layer) -> Peer {
    use ::burn::{module::Param, nn::LinearConfig};
    use peer::burn::{self, CrossEntropyLossConfig};
    let [n, k, c] = layer.shape;
    let device = burn::device().autodiff();
    let x = burn::floats(&layer.x, [n, k]).autodiff().require_grad();
    // burn keeps a weight's transpose.
    let turned: Vec<f32> = (0..k * c).map(|i| layer.weight[i % c * k + i / c]).collect();
    let mut linear = LinearConfig::new(k, c).with_bias(layer.bias.is_some()).init(&device);
    linear.weight = Param::from_tensor(burn::floats(&turned, [k, c]).autodiff());
    let parameter = |bias: &Buffer<f32>| Param::from_tensor(burn::floats(bias, [c]).autodiff());
    linear.bias = layer.bias.as_ref().map(parameter);
    let labels = burn::ints(&layer.labels, [n]);
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    let step = move || {
        let loss = cross_entropy.forward(linear.forward(x.clone()), labels.clone());
        let mut gradients = loss.backward();
        let dx = x.grad_remove(&mut gradients).expect("a gradient");
        let dw = linear.weight.val().grad_remove(&mut gradients).expect("a gradient");
        let db = linear.bias.as_ref().map(|bias| bias.val().grad_remove(&mut gradients).expect("a gradient"));
        (dx, dw, db, loss)
    };
    Peer::new("burn", step, |(dx, dw, db, loss)| {
        let db = db.map_or(Vec::new(), burn::numbers);
        [burn::numbers(dx), burn::numbers(dw.transpose()), db, burn::numbers(loss)].concat()
    })
}
