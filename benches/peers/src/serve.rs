//! gradix's side of the comparison with Python's libraries: `python/compare.py` starts this program and theirs, and has
//! them take turns.

use crate::common::data::Buffer;
use crate::common::machine::{Machine, Made};
use crate::common::work::gather::{self, Gather};
use crate::common::work::scatter::Scatter;
use crate::common::work::select::{self, Select};
use crate::common::work::softmax_xent::Xent;
use crate::common::{Case, Side, Work, pool};
use serde_json::{Value, json};
use std::any::Any;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one turn is.
const TURN: Duration = Duration::from_millis(40);

/// Writes a case's data and the reference's answer into `folder`, unless they are there; then answers every `turn` on
/// the standard input with the seconds that a call takes.
pub fn serve(case: &Case, threads: usize, folder: &Path) {
    let mut work = (case.make)();
    let kept = folder.join("case.json");
    if !kept.exists() {
        work.assert_equal(Side::Reference);
        let answer = work.answer(Side::Reference);
        write(folder, "answer", &answer);
        let mut what = dump(&*work, folder);
        what["dtype"] = json!(case.dtype);
        std::fs::write(&kept, what.to_string()).expect("a file for the case");
    }
    println!("{}", json!({ "machine": Machine::here(), "made": Made::now(), "id": case.id() }));
    let pool = pool(threads);
    let mut calls = 1;
    for line in std::io::stdin().lock().lines() {
        if line.is_ok_and(|line| line.starts_with("case")) {
            continue; // which it was started with
        }
        let seconds = pool.install(|| {
            let start = Instant::now();
            (0..calls).for_each(|_| work.run(Side::Gradix));
            start.elapsed().as_secs_f64() / f64::from(calls)
        });
        calls = ((TURN.as_secs_f64() / seconds) as u32).max(1);
        println!("{seconds:e}");
        std::io::stdout().flush().expect("somebody who reads");
    }
}

/// Writes the data, and says what is to be done with them.
fn dump(work: &dyn Work, folder: &Path) -> Value {
    let work: &dyn Any = work;
    if let Some(Gather { form, rows, width, src, idx, .. }) = work.downcast_ref::<Gather<f32>>() {
        write(folder, "src", src);
        write(folder, "idx", idx);
        let what = match form {
            gather::Form::Elements => "take",
            gather::Form::Rows => "take_rows",
            gather::Form::Columns => "take_columns",
            gather::Form::Pick => "pick",
        };
        json!({ "what": what, "rows": rows, "width": width })
    } else if let Some(Scatter { rows, width, idx, src, .. }) = work.downcast_ref::<Scatter<f32>>() {
        write(folder, "src", src);
        write(folder, "idx", idx);
        json!({ "what": "scatter_add", "rows": rows, "width": width })
    } else if let Some(select) = work.downcast_ref::<Select<f32>>() {
        write(folder, "src", &select.x);
        selection(select.form, select.threshold.into())
    } else if let Some(select) = work.downcast_ref::<Select<f64>>() {
        write(folder, "src", &select.x);
        selection(select.form, select.threshold)
    } else if let Some(xent) = work.downcast_ref::<Xent<f32>>() {
        write(folder, "src", &xent.logits);
        softmax_xent(&xent.labels, xent.classes, folder)
    } else if let Some(xent) = work.downcast_ref::<Xent<f64>>() {
        write(folder, "src", &xent.logits);
        softmax_xent(&xent.labels, xent.classes, folder)
    } else {
        panic!("a case that nobody else knows")
    }
}

fn selection(form: select::Form, threshold: f64) -> Value {
    let indices = form == select::Form::Indices;
    json!({ "what": if indices { "indices" } else { "values" }, "threshold": threshold })
}

fn softmax_xent(labels: &Buffer<u32>, classes: usize, folder: &Path) -> Value {
    write(folder, "idx", labels);
    json!({ "what": "softmax_xent", "rows": labels.len(), "width": classes })
}

fn write<T: bytemuck::Pod>(folder: &Path, name: &str, data: &[T]) {
    std::fs::write(folder.join(name), bytemuck::cast_slice::<T, u8>(data)).expect("a file for data");
}
