"""Are probabilities worth what they say? Models on the test pictures of their data sets.

Give pairs: a run (or model file) and the source it is tested on. For each: the expected calibration error (ECE) with
the 95 % band that a perfectly calibrated model with the same probabilities shows at this number of pictures, found by
drawing the labels from the probabilities 1,000 times; and the loss with the temperature and without.
"""

from __future__ import annotations

from typing import Any

from _common import Measure, Result, parser, percent, say

DRAWS = 1000


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("pairs", nargs="+", metavar="RUN SOURCE")
    asked = arguments.parse_args()
    if len(asked.pairs) % 2:
        arguments.error("give pairs of a run and its source")
    rows = [looked_at(run, source) for run, source in zip(asked.pairs[::2], asked.pairs[1::2], strict=True)]
    told(rows).finish(asked)


def looked_at(run: str, source: str) -> dict[str, Any]:
    """One model on one test split."""
    import numpy as np

    from foveal.data.sources import open_dataset
    from foveal.data.store import open_store
    from foveal.model import Model, load
    from foveal.ops.statistics import expected_calibration_error, negative_log_likelihood, softmax

    model = load(run)
    assert isinstance(model, Model)
    dataset = open_dataset(source)
    dataset = dataset.take(dataset.indices("test"))
    place = {name: i for i, name in enumerate(model.classes)}
    truth = np.array([place[dataset.classes[k]] for k in dataset.labels])
    store = open_store(dataset, model.preprocess, "auto")
    logits = model.evidence(store, np.arange(len(dataset))).logits.astype(np.float64)
    p = softmax(logits / model.temperature)
    rng = np.random.default_rng(0)
    cumulated = p.cumsum(1)
    drawn = [
        expected_calibration_error(p, (cumulated < rng.random((len(p), 1))).sum(1).clip(max=p.shape[1] - 1))
        for _ in range(DRAWS)
    ]
    found = {
        "network": model.network_name[:40], "trained": model.trained.get("train"), "source": source, "n": len(p),
        "top1": float((p.argmax(1) == truth).mean()), "ece": expected_calibration_error(p, truth),
        "band": float(np.quantile(drawn, 0.95)), "temperature": model.temperature,
        "loss": negative_log_likelihood(logits / model.temperature, truth),
        "uncalibrated": negative_log_likelihood(logits, truth),
    }  # fmt: skip
    say(f"{source}: ECE {found['ece']:.4f}, band to {found['band']:.4f}, loss {found['loss']:.4f}")
    return found


def told(rows: list[dict[str, Any]]) -> Result:
    """A row a model."""
    table = [
        [r["source"], f"{r['network']} ({r['trained'] or 'scratch'})", f"{r['n']:,}", percent(r["top1"]),
         f"{r['ece']:.4f}", f"{r['band']:.4f}", f"{r['temperature']:.2f}", f"{r['loss']:.4f}",
         f"{r['uncalibrated']:.4f}"]
        for r in rows
    ]  # fmt: skip
    inside = [r["ece"] <= r["band"] for r in rows]
    better = [r["loss"] <= r["uncalibrated"] for r in rows]
    measures = [
        Measure("models whose ECE lies in the band", f"{sum(inside)} of {len(rows)}", "all", all(inside)),
        Measure(
            "models whose loss is not worse for the temperature", f"{sum(better)} of {len(rows)}", "all", all(better)
        ),
    ]
    for r in rows:
        if "cifar10" in r["source"]:
            measures.append(Measure("ECE on CIFAR-10's 10,000", f"{r['ece']:.4f}", "at most 0.02", r["ece"] <= 0.02))
    return Result("calibration", "Probabilities of models on test pictures that they have not seen.",
                  ["pictures", "network", "n", "top-1", "ECE", "band to", "temperature", "loss", "without"], table,
                  measures, {"runs": rows})  # fmt: skip


if __name__ == "__main__":
    main()
