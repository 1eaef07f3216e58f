//! Demo datasets: TPC-H and an advertising click log with planted effects, written as Parquet.
//!
//! [`make`] is idempotent and atomic. A hidden manifest beside the data says which version and parameters made it: the
//! same again is a few milliseconds of nothing to do. Otherwise everything is written into a hidden folder and renamed into
//! place, the manifest last, so that a reader or a killed run never leaves half a dataset under its name.
//! The same arguments give the same bytes on the same build, whatever the number of threads.

mod ads;
mod effects;
mod files;
mod tables;
mod tpch;
mod truth;

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde::{Deserialize, Serialize};

pub use truth::Truth;

/// Raised when the bytes that the same parameters give change.
const VERSION: u32 = 2;
/// Hidden, so that no catalog takes it for a dataset.
const MANIFEST: &str = ".carrel-demo.json";
/// Lies in each folder that this module made: only such a folder is ever replaced.
const MARK: &str = ".carrel-demo";
/// What this module owns in the output folder.
const SETS: [&str; 2] = ["tpch", "ads"];

/// What to make, and where: the arguments of `carrel-engine demo`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Demo {
    /// The folder that gets `tpch/` and `ads/`.
    #[arg(long)]
    pub out: PathBuf,
    /// TPC-H scale factor; 0.1 is 600,000 line items.
    #[arg(long, default_value_t = 0.1)]
    pub scale: f64,
    /// Rows of `ads.clicks`.
    #[arg(long, default_value_t = 1_000_000)]
    pub clicks: u64,
    /// Seed of `ads`; TPC-H has its own fixed ones.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

/// Why there are no demo datasets.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// An argument is out of range.
    #[error("--{name} {value}: {why}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is possible.
        why: &'static str,
    },
    /// Something else has the name of a dataset.
    #[error("{path} exists and was not made by carrel-engine demo: move it away or choose another --out")]
    NotOurs {
        /// What is in the way.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("could not write {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Parquet could not be written.
    #[error("could not write {path} as Parquet")]
    Parquet {
        /// Where.
        path: PathBuf,
        /// Why.
        source: parquet::errors::ParquetError,
    },
    /// Arrow data could not be built.
    #[error("could not build a table")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A distribution's parameters are impossible.
    #[error("the generator is misconfigured: {0}")]
    Generator(String),
}

/// What the manifest holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    scale: f64,
    clicks: u64,
    seed: u64,
    truth: Truth,
}

/// What a call did.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// Everything was there already.
    Nothing(Truth),
    /// The datasets were written.
    Datasets(Truth),
}

/// Makes the demo datasets; `log` gets one line per step.
pub fn make(demo: &Demo, log: &mut dyn Write) -> Result<Made, DemoError> {
    check(demo)?;
    if let Some(truth) = present(demo) {
        let _ = writeln!(log, "demo datasets are in {} already", demo.out.display());
        return Ok(Made::Nothing(truth));
    }
    let began = Instant::now();
    fs::create_dir_all(&demo.out).map_err(io_at(&demo.out))?;
    let _lock = lock(&demo.out)?;
    if let Some(truth) = present(demo) {
        return Ok(Made::Nothing(truth)); // another process made them while this one waited
    }
    for set in SETS {
        let path = demo.out.join(set);
        if path.exists() && !path.join(MARK).exists() {
            return Err(DemoError::NotOurs { path });
        }
    }
    let stage = demo.out.join(".demo-partial");
    remove(&stage)?;
    let made = write_all(demo, &stage, log).and_then(|truth| publish(demo, &stage, truth));
    remove(&stage)?;
    let truth = made?;
    let _ = writeln!(
        log,
        "demo datasets are in {} after {:.1} s; a perfect model of ads.clicks has AUC {:.4}, log loss {:.4}",
        demo.out.display(),
        began.elapsed().as_secs_f64(),
        truth.bayes_auc,
        truth.bayes_log_loss
    );
    Ok(Made::Datasets(truth))
}

fn check(demo: &Demo) -> Result<(), DemoError> {
    let wrong = |name, value: String, why| Err(DemoError::Argument { name, value, why });
    if !(demo.scale > 0.0 && demo.scale <= 100.0) {
        return wrong("scale", demo.scale.to_string(), "must be above 0 and at most 100");
    }
    if !(1_000..=200_000_000).contains(&demo.clicks) {
        return wrong("clicks", demo.clicks.to_string(), "must be between 1000 and 200000000");
    }
    Ok(())
}

/// The truth, if exactly these datasets are there.
fn present(demo: &Demo) -> Option<Truth> {
    let found: Manifest = serde_json::from_slice(&fs::read(demo.out.join(MANIFEST)).ok()?).ok()?;
    let same = found.version == VERSION
        && found.scale == demo.scale
        && found.clicks == demo.clicks
        && found.seed == demo.seed;
    (same && SETS.iter().all(|set| demo.out.join(set).is_dir())).then_some(found.truth)
}

/// Held while datasets are made: a second run waits for the first.
fn lock(out: &Path) -> Result<fs::File, DemoError> {
    let path = out.join(".carrel-demo.lock");
    let file = fs::File::create(&path).map_err(io_at(&path))?;
    file.lock().map_err(io_at(&path))?;
    Ok(file)
}

/// A piece of work that no other depends on: one file.
type Task<'a> = Box<dyn FnOnce() -> Result<(), DemoError> + Send + 'a>;

fn write_all(demo: &Demo, stage: &Path, log: &mut dyn Write) -> Result<Truth, DemoError> {
    let plan = ads::Plan::new(demo.clicks, demo.seed)?;
    let ads = stage.join("ads");
    let parts: Vec<Mutex<Option<truth::Part>>> = (0..plan.parts()).map(|_| Mutex::new(None)).collect();
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for (index, slot) in parts.iter().enumerate() {
        let (plan, path) = (&plan, ads.join("clicks").join(files::part(index)));
        tasks.push(Box::new(move || {
            let part = plan.write_clicks(index, &path)?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(part);
            Ok(())
        }));
    }
    tasks.push(Box::new(|| tables::write_members(&plan, &ads.join("members").join(files::part(0)))));
    tasks.push(Box::new(|| tables::write_items(&plan, &ads.join("items").join(files::part(0)))));
    tpch::tasks(demo.scale, &stage.join("tpch"), &mut tasks);
    let _ = writeln!(
        log,
        "making TPC-H at scale {} and ads.clicks with {} rows: {} files",
        demo.scale,
        demo.clicks,
        tasks.len()
    );
    run(tasks, log)?;
    let parts = parts.into_iter().filter_map(|p| p.into_inner().unwrap_or_else(PoisonError::into_inner));
    let truth = truth::judge(&plan, parts.collect());
    let readme = ads.join("README.md");
    fs::write(&readme, truth.readme(demo)).map_err(io_at(&readme))?;
    for (folder, about) in
        [("ads", include_str!("ads_catalog.toml")), ("tpch", include_str!("tpch_catalog.toml"))]
    {
        let path = stage.join(folder).join("_catalog.toml");
        fs::write(&path, about).map_err(io_at(&path))?;
    }
    Ok(truth)
}

/// Runs the tasks on all cores; the first error ends the rest.
fn run(tasks: Vec<Task<'_>>, log: &mut dyn Write) -> Result<(), DemoError> {
    let total = tasks.len();
    let queue = Mutex::new(VecDeque::from(tasks));
    let threads = std::thread::available_parallelism().map_or(2, NonZeroUsize::get).min(16);
    let (sender, results) = std::sync::mpsc::sync_channel(threads);
    let mut first = Ok(());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(task) = next else { break };
                    if sender.send(task()).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut done = 0;
        for result in &results {
            done += 1;
            if let Err(error) = result {
                queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                if first.is_ok() {
                    first = Err(error);
                }
            }
            if done % 8 == 0 || done == total {
                let _ = writeln!(log, "  {done} of {total} files");
            }
        }
    });
    first
}

/// Renames the finished folders into place and writes the manifest.
fn publish(demo: &Demo, stage: &Path, truth: Truth) -> Result<Truth, DemoError> {
    let manifest = demo.out.join(MANIFEST);
    match fs::remove_file(&manifest) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_at(&manifest)(error)),
        _ => {}
    }
    for set in SETS {
        let (from, to) = (stage.join(set), demo.out.join(set));
        let mark = from.join(MARK);
        fs::write(&mark, "made by carrel-engine demo\n").map_err(io_at(&mark))?;
        if to.exists() {
            let old = stage.join(format!("{set}.old"));
            fs::rename(&to, &old).map_err(io_at(&to))?;
        }
        fs::rename(&from, &to).map_err(io_at(&to))?;
    }
    let content = Manifest {
        version: VERSION,
        scale: demo.scale,
        clicks: demo.clicks,
        seed: demo.seed,
        truth: truth.clone(),
    };
    let text = serde_json::to_vec_pretty(&content)
        .map_err(|e| DemoError::Io { path: manifest.clone(), source: e.into() })?;
    let fresh = stage.join("manifest.json");
    fs::write(&fresh, text).map_err(io_at(&fresh))?;
    fs::rename(&fresh, &manifest).map_err(io_at(&manifest))?;
    Ok(truth)
}

fn remove(path: &Path) -> Result<(), DemoError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at(path)(error)),
        _ => Ok(()),
    }
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> DemoError {
    let path = path.to_owned();
    move |source| DemoError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests;
