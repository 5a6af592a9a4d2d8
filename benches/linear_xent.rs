//! `cargo bench --bench linear_xent --features linear`: a fused linear layer and cross-entropy beside what
//! it stands for, with all logits held: a product by `gemm`, `SoftmaxXent` in place, two products. The
//! logits' matrix is allocated before, so that its page faults are not counted. The two alternate.
//!
//! ```text
//! cargo bench --bench linear_xent --features linear                 measure and print
//! cargo bench --bench linear_xent --features linear -- --check      exit 1 where the ratio is above 1.05
//! cargo bench --bench linear_xent --features linear -- 50257        only shapes whose name contains this
//! cargo bench --bench linear_xent --features linear -- --scratch 128      MiB for logits, not 26
//! ```

mod common;

use clap::{Arg, ArgAction, Command, value_parser};
use common::data::normal;
use common::paired::{Rounds, StopRule};
use common::tables::table;
use common::{pool, thread_counts};
use gradix::{Linear, LinearGradients, LinearXent, SoftmaxXent, View, ViewMut};
use std::process::ExitCode;
use std::time::Duration;

const STOP: StopRule = StopRule { rounds: 9, width: 0.03, budget: Duration::from_secs(6) };

/// The most that the fused form may take of the other's time.
const MOST: f64 = 1.05;

/// Rows, columns, classes.
const SHAPES: [[usize; 3]; 9] = [
    [65_536, 64, 10],
    [4096, 256, 100],
    [4096, 512, 1000],
    [2048, 512, 8192],
    [1024, 512, 16_384],
    [1024, 4096, 32_000],
    [1024, 768, 32_000],
    [1024, 768, 50_257],
    [512, 512, 128_256],
];

/// c = a·b or cᵀ = …, by strides; or c += a·b.
fn product(
    [m, n, k]: [usize; 3],
    c: &mut [f32],
    (a, a_strides): (&[f32], [isize; 2]),
    (b, b_strides): (&[f32], [isize; 2]),
    threads: usize,
) {
    assert!(c.len() == m * n && a.len() == m * k && b.len() == k * n, "dense matrices");
    let parallelism = if threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(threads) };
    // SAFETY: dense matrices of these shapes, as asserted, in this or the other order, of which nobody else
    // has c.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            a_strides[1],
            a_strides[0],
            b.as_ptr(),
            b_strides[1],
            b_strides[0],
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Fused,
    Held,
}

fn main() -> ExitCode {
    let arguments = Command::new("linear_xent")
        .about("Measures the fused linear layer beside one that holds all logits")
        .arg(Arg::new("filter").help("Only shapes whose name contains this"))
        .arg(Arg::new("check").long("check").action(ArgAction::SetTrue).help("Exit with 1 above 1.05"))
        .arg(
            Arg::new("scratch")
                .long("scratch")
                .value_name("MiB")
                .value_parser(value_parser!(usize))
                .help("Scratch for logits"),
        )
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
        .get_matches();
    let filter = arguments.get_one::<String>("filter").map_or("", |filter| filter);
    let scratch = arguments.get_one::<usize>("scratch").map(|mib| mib << 20);
    let mut rows =
        table(&["rows x columns x classes", "threads", "held, ms", "fused, ms", "fused/held", "GFLOP/s"], 1);
    let mut above = Vec::new();
    for [n, k, c] in SHAPES {
        let name = format!("{n} x {k} x {c}");
        if !name.contains(filter) {
            continue;
        }
        let (x, weight) = (normal(n * k), normal(c * k));
        let labels: Vec<u32> = (0..n).map(|i| (i * 7919 % c) as u32).collect();
        let (mut dx, mut dw) = (vec![1.0; n * k], vec![1.0; c * k]);
        let mut logits = vec![1.0; n * c];
        for threads in thread_counts() {
            let mut run = |side| match side {
                Side::Fused => {
                    let x = View::new(&x, &[n, k]).expect("a matrix");
                    let layer = Linear::new(x, View::new(&weight, &[c, k]).expect("a matrix"));
                    let to = LinearGradients::new().x(&mut dx).weight(&mut dw);
                    let fused = LinearXent::new(SoftmaxXent::new());
                    let fused = match scratch {
                        Some(bytes) => fused.scratch_bytes(bytes),
                        None => fused,
                    };
                    fused.forward_backward(layer, &labels, to).expect("a layer").value
                }
                Side::Held => {
                    let [of_k, of_c] = [[k as isize, 1], [c as isize, 1]];
                    let turned = |[a, b]: [isize; 2]| [b, a];
                    product([n, c, k], &mut logits, (&x, of_k), (&weight, turned(of_k)), threads);
                    let view = ViewMut::new(&mut logits, &[n, c]).expect("a matrix");
                    let loss = SoftmaxXent::new().forward_backward_in_place(view, &labels).expect("rows");
                    product([n, k, c], &mut dx, (&logits, of_c), (&weight, of_k), threads);
                    product([c, k, n], &mut dw, (&logits, turned(of_c)), (&x, of_k), threads);
                    loss.value
                }
            };
            let rounds = pool(threads).install(|| {
                let [fused, held] = [run(Side::Fused), run(Side::Held)];
                assert!((fused - held).abs() <= 1e-4 * held.abs(), "{name}: {fused} and {held}");
                Rounds::run(&[Side::Held, Side::Fused], &[(Side::Fused, Side::Held)], STOP, |side| {
                    run(side);
                })
            });
            let ratio = rounds.ratio(Side::Fused, Side::Held).median;
            let [held, fused] = [Side::Held, Side::Fused].map(|side| rounds.seconds(side).median);
            let flops = 6.0 * n as f64 * k as f64 * c as f64 / fused / 1e9;
            rows.add_row(vec![
                name.clone(),
                threads.to_string(),
                format!("{:.2}", held * 1e3),
                format!("{:.2}", fused * 1e3),
                format!("{ratio:.3}"),
                format!("{flops:.0}"),
            ]);
            if ratio > MOST {
                above.push(format!("{name}, {threads} threads ({ratio:.3})"));
            }
        }
    }
    println!("{rows}");
    if above.is_empty() {
        println!("Nowhere above {MOST} of the time with all logits held.");
        return ExitCode::SUCCESS;
    }
    println!("above {MOST}:\n{}", above.join("\n"));
    if arguments.get_flag("check") { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
