"""Models on ads.clicks, whose best answer is known: planted coefficients come back, and AUC stands beside the best possible.

Two models. With the planted member and item effects joined in as features, the logistic model is the true one: every coefficient
must come back within TOLERANCE of the truth. On the global features alone, the left-out effects shrink every coefficient towards 0
by one factor near 1/sqrt(1 + 0.346 * (0.7² + 0.5²)) = 0.89 (Zeger, Liang and Albert 1988), so there coefficients are compared after that.
"""

import json
import math

import numpy as np
import pyarrow.flight as flight
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from engine import Engine

# Four standard errors at a million rows: 0.01 for units, 0.03 for the rarest categories.
TOLERANCE = 0.04
NUMBERS = ["relevance", "quality", "position", "recency_hours"]
TEXTS = ["device", "country", "campaign"]
COMPLETE = "relevance IS NOT NULL AND device IS NOT NULL AND country IS NOT NULL"
GLOBAL = f"SELECT clicked, {', '.join(NUMBERS + TEXTS)} FROM ads.clicks WHERE {COMPLETE}"
TRUE = f"""
    SELECT clicked, {', '.join('c.' + name for name in NUMBERS + TEXTS)},
           m.true_effect AS member_effect, i.true_effect AS item_effect
    FROM ads.clicks c JOIN ads.members m ON c.member_id = m.member_id JOIN ads.items i ON c.item_id = i.item_id
    WHERE {COMPLETE.replace('device', 'c.device').replace('country', 'c.country')}"""


@pytest.fixture(scope="module")
def truth(data):
    return json.loads((data / ".carrel-demo.json").read_text())["truth"]


def train(engine, name, select, extra=""):
    return engine.rows(
        f"CREATE OR REPLACE MODEL {name} OPTIONS(model_type='logistic_reg', input_label_cols=['clicked'], "
        f"data_split_method='NO_SPLIT' {extra}) AS {select}"
    )[0]


def coefficients(engine, name, truth):
    """Number: weight; (text, category): weight against the planted reference."""
    found = {}
    for row in engine.rows(f"SELECT * FROM ML.WEIGHTS(MODEL {name})"):
        if row["weight"] is not None:
            found[row["processed_input"]] = row["weight"]
            continue
        weights = {pair["category"]: pair["weight"] for pair in row["category_weights"]}
        planted = truth["categorical"][row["processed_input"]]
        reference = next(level for level, effect in planted.items() if effect == 0.0)
        for level, weight in weights.items():
            found[row["processed_input"], level] = weight - weights[reference]
    return found


def planted(truth):
    numbers = dict(truth["numeric"])
    return numbers | {(name, level): effect for name, levels in truth["categorical"].items() for level, effect in levels.items()}


def test_planted_effects_come_back(engine, truth):
    summary = train(engine, "planted", TRUE)
    assert summary["converged"] and summary["ended"] == "converged"
    found = coefficients(engine, "planted", truth)
    for key, effect in planted(truth).items():
        assert abs(found[key] - effect) < TOLERANCE, (key, found[key], effect)
    assert abs(found["member_effect"] - 1) < TOLERANCE and abs(found["item_effect"] - 1) < TOLERANCE
    print(f"AUC {summary['roc_auc']:.5f}, best possible {truth['bayes_auc']:.5f}; "
          f"log loss {summary['log_loss']:.5f}, best possible {truth['bayes_log_loss']:.5f}")
    assert abs(summary["roc_auc"] - truth["bayes_auc"]) < 0.002
    assert abs(summary["log_loss"] - truth["bayes_log_loss"]) < 0.002


def test_global_model_is_the_best_of_its_kind(engine, truth):
    summary = train(engine, "global_only", GLOBAL)
    found = coefficients(engine, "global_only", truth)
    shrink = 1 / math.sqrt(1 + 0.346 * (truth["member_effect_sd"] ** 2 + truth["item_effect_sd"] ** 2))
    for key, effect in planted(truth).items():
        if key == "quality" or isinstance(key, tuple) and key[0] == "country":
            continue  # constant within an item or a member: blurred by the few that dominate, see the next lines
        assert abs(found[key] - shrink * effect) < TOLERANCE, (key, found[key], shrink * effect)
    # An item's quality and a member's country vary only between items and members: 5,000 and 50,000 draws by Zipf's law.
    assert abs(found["quality"] - shrink * truth["numeric"]["quality"]) < 0.3
    print(f"AUC {summary['roc_auc']:.5f}, best without effects {truth['global_auc']:.5f}, best {truth['bayes_auc']:.5f}")
    assert abs(summary["roc_auc"] - truth["global_auc"]) < 0.003


def test_the_same_optimum_as_scikit_learn(engine):
    select = f"{GLOBAL} AND event_id % 10 = 0"
    summary = train(engine, "small", select, ", l2_reg=1, standardize_features=false")
    frame = engine.sql(select)
    label = frame.column("clicked").to_numpy()
    columns, names = [frame.column(name).to_numpy() for name in NUMBERS], list(NUMBERS)
    for text in TEXTS:
        values = np.array(frame.column(text).to_pylist())
        for level in sorted(set(values)):
            columns.append((values == level).astype(float))
            names.append((text, level))
    design = np.column_stack(columns)
    # Centred numbers on both sides: the penalty does not touch the intercept, so centring changes nothing else.
    design[:, : len(NUMBERS)] -= design[:, : len(NUMBERS)].mean(axis=0)
    peer = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000, solver="newton-cholesky").fit(design, label)
    found = {}
    for row in engine.rows("SELECT * FROM ML.WEIGHTS(MODEL small)"):
        if row["weight"] is not None:
            found[row["processed_input"]] = row["weight"]
        for pair in row["category_weights"] or []:
            found[row["processed_input"], pair["category"]] = pair["weight"]
    for name, weight in zip(names, peer.coef_[0]):
        assert abs(found[name] - weight) < 1e-6, (name, found[name], weight)
    probability = peer.predict_proba(design)[:, 1]
    assert abs(summary["roc_auc"] - roc_auc_score(label, probability)) < 1e-9
    assert abs(summary["log_loss"] - log_loss(label, probability)) < 1e-9


def test_predict_and_evaluate_agree(engine):
    train(engine, "judge", f"{GLOBAL} AND event_id < 200000")
    table = engine.sql(
        "SELECT clicked, predicted_clicked, predicted_clicked_probs[1]['prob'] AS p "
        f"FROM ML.PREDICT(MODEL judge, ({GLOBAL} AND event_id >= 900000))"
    )
    label, p = table.column("clicked").to_numpy(), table.column("p").to_numpy()
    assert ((p >= 0.5) == (table.column("predicted_clicked").to_numpy() == 1)).all()
    [found] = engine.rows(f"SELECT * FROM ML.EVALUATE(MODEL judge, ({GLOBAL} AND event_id >= 900000))")
    assert list(found) == ["precision", "recall", "accuracy", "f1_score", "log_loss", "roc_auc"]
    assert abs(found["roc_auc"] - roc_auc_score(label, p)) < 1e-9
    assert abs(found["log_loss"] - log_loss(label, p)) < 1e-9
    assert abs(found["accuracy"] - ((p >= 0.5) == label).mean()) < 1e-12
    [at] = engine.rows(f"SELECT recall FROM ML.EVALUATE(MODEL judge, TABLE ads.clicks, STRUCT(0.0 AS threshold))")
    assert at["recall"] == 1.0
    top = engine.rows(
        "SELECT country, avg(predicted_clicked_probs[1]['prob']) AS p "
        "FROM ML.PREDICT(MODEL judge, TABLE ads.clicks) WHERE country IN ('us', 'jp') GROUP BY country ORDER BY p"
    )
    assert [row["country"] for row in top] == ["jp", "us"]


def test_models_are_listed_survive_a_restart_and_are_dropped(data):
    engine = Engine(data, settings="")
    try:
        train(engine, "kept", f"{GLOBAL} AND event_id < 20000", ", max_iterations=50")
        before = engine.rows("SELECT * FROM ML.EVALUATE(MODEL kept)")
        engine.stop()
        engine.start()
        assert [row["name"] for row in engine.rows("SHOW MODELS")] == ["kept"]
        assert engine.rows("SELECT * FROM ML.EVALUATE(MODEL kept)") == before
        info = engine.rows("SELECT * FROM ML.TRAINING_INFO(MODEL kept) ORDER BY iteration")
        assert list(info[0])[:6] == ["training_run", "iteration", "loss", "eval_loss", "learning_rate", "duration_ms"]
        assert abs(info[0]["loss"] - math.log(2)) < 1e-9 and info[-1]["loss"] < info[0]["loss"]
        engine.rows("DROP MODEL kept")
        assert engine.rows("SHOW MODELS") == []
    finally:
        engine.close()


@pytest.mark.parametrize(
    "text, words",
    [
        ("CREATE MODEL x OPTIONS(model_type='logistic_reg', l2_regg=1) AS SELECT 1 AS label, 2 AS a", "l2_regg"),
        (f"CREATE MODEL x OPTIONS(model_type='logistic_reg', input_label_cols=['device']) AS {GLOBAL}", "more than two"),
        (f"CREATE MODEL x OPTIONS(model_type='logistic_reg', input_label_cols=['clickd']) AS {GLOBAL}", "no label column clickd"),
        ("CREATE MODEL x OPTIONS(model_type='logistic_reg', input_label_cols=['clicked']) AS SELECT clicked, ts FROM ads.clicks",
         "column ts is"),
        ("CREATE MODEL x OPTIONS(model_type='logistic_reg', input_label_cols=['clicked']) AS "
         "SELECT clicked, CAST(member_id AS VARCHAR) AS member FROM ads.clicks", "different values, at most 1000"),
        ("CREATE MODEL x OPTIONS(model_type='logistic_reg', input_label_cols=['clicked']) AS SELECT clicked, contry FROM ads.clicks",
         "contry"),
        ("SELECT * FROM ML.PREDICT(MODEL nothing, TABLE ads.clicks)", "no model nothing"),
        ("SELECT * FROM ML.PREDCT(MODEL nothing, TABLE ads.clicks)", "no function ML.PREDCT"),
    ],
)
def test_mistakes_are_said_clearly(engine, text, words):
    with pytest.raises((flight.FlightError, pa.ArrowException)) as caught:
        engine.sql(text)
    assert words in str(caught.value)
    assert "x" not in [row["name"] for row in engine.rows("SHOW MODELS")]


def test_linear_regression(engine):
    [row] = engine.rows(
        "CREATE OR REPLACE MODEL line OPTIONS(model_type='linear_reg', input_label_cols=['y'], l2_reg=0) AS "
        "SELECT 3.0 * relevance - 2.0 * quality + 1.0 AS y, relevance, quality FROM ads.clicks WHERE event_id < 10000"
    )
    assert row["converged"] and row["r2_score"] > 0.999999
    weights = {r["processed_input"]: r["weight"] for r in engine.rows("SELECT * FROM ML.WEIGHTS(MODEL line)")}
    assert abs(weights["relevance"] - 3) < 1e-6 and abs(weights["__INTERCEPT__"] - 1) < 1e-6
    [row] = engine.rows("SELECT predicted_y FROM ML.PREDICT(MODEL line, (SELECT 1.0 AS relevance, 0.5 AS quality))")
    assert abs(row["predicted_y"] - 3) < 1e-6
