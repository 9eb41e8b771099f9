"""The figures of the paper's tables 2, 3 and 4 (arXiv 1706.05137): log-perplexity, and accuracies as fractions."""


def _scores(log_perplexity: float, accuracy: float, per_sequence: float | None = None) -> dict[str, float]:
    scores = {"log_perplexity": log_perplexity, "accuracy": accuracy}
    return scores if per_sequence is None else scores | {"accuracy_per_sequence": per_sequence}


# {table: {(kind of problem, variant): scores}}
PAPER: dict[str, dict[tuple[str, str], dict[str, float]]] = {
    "joint_vs_alone": {
        ("image", "joint"): _scores(1.7, 0.66),
        ("image", "alone"): _scores(1.6, 0.67),
        ("ende", "joint"): _scores(1.4, 0.72),
        ("ende", "alone"): _scores(1.4, 0.71),
        ("speech", "joint"): _scores(4.4, 0.41),
        ("speech", "alone"): _scores(5.7, 0.23),
        ("parsing", "joint"): _scores(0.15, 0.98),
        ("parsing", "alone"): _scores(0.2, 0.97),
    },
    "small_problem": {
        ("parsing", "alone"): _scores(0.20, 0.971, 0.117),
        ("parsing", "with_foreign"): _scores(0.16, 0.975, 0.127),
        ("parsing", "with_all"): _scores(0.15, 0.979, 0.145),
    },
    "ablation": {
        ("image", "all_blocks"): _scores(1.6, 0.67),
        ("image", "no_experts"): _scores(1.6, 0.66),
        ("image", "no_attention"): _scores(1.6, 0.67),
        ("enfr", "all_blocks"): _scores(1.2, 0.76),
        ("enfr", "no_experts"): _scores(1.3, 0.74),
        ("enfr", "no_attention"): _scores(1.4, 0.72),
    },
}
