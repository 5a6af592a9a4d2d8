//! Somebody else who does the same work.

use std::hint::black_box;

/// A library, or a loop, with its own copy of the data in the form it likes best.
pub struct Peer {
    pub name: &'static str,
    call: Box<dyn FnMut(bool) -> Option<Vec<f64>> + Send>,
}

impl Peer {
    /// One that allocates its answer on each call.
    pub fn new<A>(
        name: &'static str,
        mut work: impl FnMut() -> A + Send + 'static,
        numbers: impl Fn(A) -> Vec<f64> + Send + 'static,
    ) -> Self {
        let call = move |wanted: bool| {
            let answer = black_box(work());
            wanted.then(|| numbers(answer))
        };
        Peer { name, call: Box::new(call) }
    }

    /// One that writes into memory of its own.
    pub fn into<A: Send + 'static>(
        name: &'static str,
        mut kept: A,
        mut work: impl FnMut(&mut A) + Send + 'static,
        numbers: impl Fn(&A) -> Vec<f64> + Send + 'static,
    ) -> Self {
        let call = move |wanted: bool| {
            work(&mut kept);
            black_box(&mut kept);
            wanted.then(|| numbers(&kept))
        };
        Peer { name, call: Box::new(call) }
    }

    pub fn run(&mut self) {
        (self.call)(false);
    }

    pub fn answer(&mut self) -> Vec<f64> {
        (self.call)(true).expect("an answer, since it was wanted")
    }
}

/// Tensors of candle on the CPU.
pub mod candle {
    pub use candle_core::{DType, Device, Tensor, Var};

    pub fn tensor<T: candle_core::WithDType>(data: &[T], shape: &[usize]) -> Tensor {
        Tensor::from_slice(data, shape, &Device::Cpu).expect("a tensor")
    }

    pub fn numbers(tensor: Tensor) -> Vec<f64> {
        let flat = tensor.to_dtype(DType::F64).and_then(|t| t.flatten_all());
        flat.and_then(|t| t.to_vec1()).expect("numbers")
    }
}

/// Tensors of burn on its flex backend.
pub mod burn {
    pub use burn::nn::loss::CrossEntropyLossConfig;
    pub use burn::tensor::{Device, Int, Tensor, TensorData};

    pub fn device() -> Device {
        Device::flex()
    }

    pub fn floats<const D: usize>(data: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(data.to_vec(), shape), &device())
    }

    pub fn ints<const D: usize>(data: &[u32], shape: [usize; D]) -> Tensor<D, Int> {
        let data: Vec<i64> = data.iter().map(|&i| i.into()).collect();
        Tensor::from_data(TensorData::new(data, shape), &device())
    }

    pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }
}
