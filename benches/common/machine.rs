//! Which machine this is, for figures that hold on one machine only.

use serde::{Deserialize, Serialize};
use std::process::Command;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// What its folder in `results/` is called.
    pub name: String,
    pub cpu: String,
    pub cpus: usize,
    /// The data caches, the smallest first: its name, its bytes.
    pub caches: Vec<(String, usize)>,
    pub best_level: String,
}

impl Machine {
    pub fn here() -> Self {
        let best_level = gradix::Level::detected().name().to_string();
        let (cpu, caches) = cpu();
        let cpus = num_cpus::get();
        let words = cpu.to_lowercase().replace("(r)", "").replace("(tm)", "");
        let words = words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let name = words.chain([format!("{cpus}cpu").as_str()]).collect::<Vec<_>>().join("-");
        Machine { name, cpu, cpus, caches, best_level }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu() -> (String, Vec<(String, usize)>) {
    use raw_cpuid::{CacheType, CpuId};
    let id = CpuId::new();
    let brand =
        id.get_processor_brand_string().map_or("x86-64".into(), |brand| brand.as_str().trim().to_string());
    let model = id.get_feature_info().map_or(String::new(), |f| {
        format!(" family {} model {}", f.family_id(), f.model_id()) // clouds hide the rest of the name
    });
    let caches = id.get_cache_parameters().into_iter().flatten();
    let caches = caches.filter(|c| matches!(c.cache_type(), CacheType::Data | CacheType::Unified)).map(|c| {
        let bytes = c.associativity() * c.physical_line_partitions() * c.coherency_line_size() * c.sets();
        (format!("L{}", c.level()), bytes)
    });
    (brand + &model, caches.collect())
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu() -> (String, Vec<(String, usize)>) {
    (std::env::consts::ARCH.to_string(), Vec::new())
}

/// With what a figure was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub commit: String,
    pub rustc: String,
    pub day: String,
}

impl Made {
    pub fn now() -> Self {
        let changed =
            line("git", &["status", "--porcelain", "--untracked-files=no", "--", ":/src", ":/benches"]);
        let commit = line("git", &["rev-parse", "--short", "HEAD"]);
        Made {
            commit: if changed.is_empty() { commit } else { commit + " and changes" },
            rustc: line("rustc", &["--version"]),
            day: line("date", &["-u", "+%F"]),
        }
    }
}

/// The first line that a command prints; nothing where there is no such command.
fn line(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_string()
}
