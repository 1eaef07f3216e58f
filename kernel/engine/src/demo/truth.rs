//! The known best answer: planted coefficients, and what a perfect model scores on the rows drawn.

use std::{collections::BTreeMap, fmt::Write};

use carrel_train::{metrics, sigmoid};
use serde::{Deserialize, Serialize};

use super::{
    Demo,
    ads::Plan,
    effects::{
        CAMPAIGNS, COUNTRIES, DEVICES, INTERCEPT, ITEM_SD, ITEM_SKEW, Level, MEMBER_SD, MEMBER_SKEW, NULLS,
        NUMERIC,
    },
};

/// True scores (log-odds) and labels of some rows.
#[derive(Debug, Default)]
pub(super) struct Part {
    fixed: Vec<f64>,
    score: Vec<f64>,
    label: Vec<f64>,
}

impl Part {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            fixed: Vec::with_capacity(rows),
            score: Vec::with_capacity(rows),
            label: Vec::with_capacity(rows),
        }
    }

    pub(super) fn push(&mut self, fixed: f64, score: f64, clicked: bool) {
        self.fixed.push(fixed);
        self.score.push(score);
        self.label.push(f64::from(u8::from(clicked)));
    }
}

/// What is known about `ads.clicks` beforehand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Rows.
    pub rows: u64,
    /// Members, ids from 0.
    pub members: u64,
    /// Items, ids from 0.
    pub items: u64,
    /// Share of clicked rows.
    pub click_rate: f64,
    /// Planted intercept (log-odds).
    pub intercept: f64,
    /// Planted log-odds per unit of the numeric features.
    pub numeric: BTreeMap<String, f64>,
    /// Planted log-odds of each value of the categorical features against the reference, which is at 0.
    pub categorical: BTreeMap<String, BTreeMap<String, f64>>,
    /// Standard deviation of the per-member effect.
    pub member_effect_sd: f64,
    /// Standard deviation of the per-item effect.
    pub item_effect_sd: f64,
    /// AUC of the true probabilities: no model does better, but for luck.
    pub bayes_auc: f64,
    /// Log loss (nats) of the true probabilities.
    pub bayes_log_loss: f64,
    /// AUC of the planted global part alone: the best without per-member and per-item effects.
    pub global_auc: f64,
    /// Missing values: share of rows by column.
    pub null_rates: BTreeMap<String, f64>,
}

/// Joins the parts and judges the true model on them.
pub(super) fn judge(plan: &Plan, parts: Vec<Part>) -> Truth {
    let mut all = Part::with_capacity(plan.clicks as usize);
    for mut part in parts {
        all.fixed.append(&mut part.fixed);
        all.score.append(&mut part.score);
        all.label.append(&mut part.label);
    }
    let probabilities: Vec<f64> = all.score.iter().map(|z| sigmoid(*z)).collect();
    let (bayes_auc, global_auc) = std::thread::scope(|scope| {
        let global = scope.spawn(|| metrics::roc_auc(&all.fixed, &all.label, None));
        (metrics::roc_auc(&all.score, &all.label, None), global.join().ok().flatten())
    });
    Truth {
        rows: plan.clicks,
        members: plan.members.len() as u64,
        items: plan.items.len() as u64,
        click_rate: all.label.iter().sum::<f64>() / all.label.len().max(1) as f64,
        intercept: INTERCEPT,
        numeric: NUMERIC.iter().map(|(name, effect)| ((*name).to_owned(), *effect)).collect(),
        categorical: [("device", &DEVICES[..]), ("country", &COUNTRIES), ("campaign", &CAMPAIGNS)]
            .map(|(name, levels)| (name.to_owned(), effects_of(levels)))
            .into(),
        member_effect_sd: MEMBER_SD,
        item_effect_sd: ITEM_SD,
        bayes_auc: bayes_auc.unwrap_or(0.5),
        bayes_log_loss: metrics::log_loss(&probabilities, &all.label, None).unwrap_or(0.0),
        global_auc: global_auc.unwrap_or(0.5),
        null_rates: NULLS.iter().map(|(name, rate)| ((*name).to_owned(), *rate)).collect(),
    }
}

fn effects_of(levels: &[Level]) -> BTreeMap<String, f64> {
    levels.iter().map(|(name, _, effect)| ((*name).to_owned(), *effect)).collect()
}

impl Truth {
    /// `ads/README.md`.
    pub(super) fn readme(&self, demo: &Demo) -> String {
        let mut text = format!(
            "# ads: a click log with a known best answer\n\n\
             Made by `carrel-engine demo --clicks {} --seed {}`. {} rows, {} members, {} items, {:.2} % clicked.\n\n\
             | model | AUC | log loss |\n|---|---|---|\n\
             | the true probabilities (nothing does better) | {:.6} | {:.6} |\n\
             | the true global part alone | {:.6} | |\n\n\
             Log-odds of a click = {} + the effects below + the member's `true_effect` (normal, sd {}) + the item's \
             `true_effect` (normal, sd {}). Members appear by Zipf's law with exponent {MEMBER_SKEW}, items with {ITEM_SKEW}.\n\n\
             | feature | value | log-odds |\n|---|---|---|\n",
            demo.clicks,
            demo.seed,
            self.rows,
            self.members,
            self.items,
            100.0 * self.click_rate,
            self.bayes_auc,
            self.bayes_log_loss,
            self.global_auc,
            self.intercept,
            self.member_effect_sd,
            self.item_effect_sd,
        );
        for (name, effect) in &self.numeric {
            let _ = writeln!(text, "| {name} | per unit | {effect} |");
        }
        for (name, levels) in &self.categorical {
            for (level, effect) in levels {
                let _ = writeln!(text, "| {name} | {level} | {effect} |");
            }
        }
        text.push_str("\nMissing at random, after the click was drawn: ");
        let rates: Vec<String> =
            self.null_rates.iter().map(|(name, rate)| format!("{name} {} %", rate * 100.0)).collect();
        let _ = writeln!(text, "{}.", rates.join(", "));
        text
    }
}
