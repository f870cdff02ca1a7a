"""Trains the out-of-distribution detector: a binary classifier of garments (inliers) and other pictures (outliers).

Inliers are training pictures, unchanged and varied (model.synthetic.variants). Outliers are synthetic pictures
(model.synthetic.outliers) and garments turned by quarters that the network misclassifies. The network's own weights,
and with them its accuracy, do not change.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.data import Split
from model.ood_detector import Detector, energy
from model.predict import Outputs, Predictor, preprocess_all, serving_pixels
from model.synthetic import outliers, variants

MAX_UNCHANGED, MAX_VARIED = 8_000, 5_000
"""Training pictures used as inliers."""

MAX_OUTLIERS = 1_200
"""Outliers of each synthetic family, and turned garments."""

HIDDEN_UNITS = 64
EPOCHS = 20
BATCH_SIZE = 256
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01

SEED = 0


def train_detector(run: Predictor, train: Split) -> Detector:
    """The detector for the network that `run` computes, from training pictures and outliers."""
    outlier_groups = [*synthetic_outlier_outputs(run, train).values(), misclassified_rotated_outputs(run, train)]
    return fit_detector(inlier_outputs(run, train), outlier_groups)


def inlier_outputs(run: Predictor, train: Split) -> Outputs:
    """The network's outputs for MAX_UNCHANGED training pictures as they are, then MAX_VARIED varied ones."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED))
    unchanged, varied = (train.pixels[part] for part in (order[:MAX_UNCHANGED], order[-MAX_VARIED:]))
    pixels = [serving_pixels(unchanged).numpy(), preprocess_all(variants.make_variants(varied.numpy(), SEED))]
    return run(np.concatenate(pixels))


def synthetic_outlier_outputs(run: Predictor, train: Split, seed: int = SEED) -> dict[str, Outputs]:
    """The network's outputs for each family of synthetic outliers."""
    count = min(MAX_OUTLIERS, len(train))
    pictures = train.pixels.numpy()
    return {family: run(preprocess_all(outliers.draw(family, count, pictures, seed))) for family in outliers.FAMILIES}


def misclassified_rotated_outputs(run: Predictor, train: Split) -> Outputs:
    """The network's outputs for garments turned by 90°, 180° or 270° that it misclassifies, at most MAX_OUTLIERS."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED + 1))[: 2 * MAX_OUTLIERS]
    pixels, labels = serving_pixels(train.pixels[order]).numpy(), train.labels[order].numpy()
    turned = [np.rot90(pixels[k::3], k + 1, (1, 2)) for k in range(3)]
    outputs = run(np.concatenate(turned))
    wrong = outputs.logits.argmax(1) != np.concatenate([labels[k::3] for k in range(3)])
    chosen = np.random.default_rng(SEED).permutation(np.flatnonzero(wrong))[:MAX_OUTLIERS]
    return Outputs(outputs.logits[chosen], outputs.features[chosen])


def fit_detector(inliers: Outputs, outlier_groups: Sequence[Outputs]) -> Detector:
    """Logistic regression with one hidden layer on standardised inputs.

    The standardisation is folded into the hidden layer, so the detector takes the inputs as they are.
    """
    groups = [_inputs(inliers), *(_inputs(outputs) for outputs in outlier_groups)]
    inputs, labels = np.concatenate(groups), np.repeat([0.0, 1.0], [len(groups[0]), sum(map(len, groups[1:]))])
    mean, scale = inputs.mean(0), inputs.std(0) + 1e-3
    hidden, output = _train_layers(torch.from_numpy((inputs - mean) / scale), torch.from_numpy(labels).float())
    weight = hidden.weight.detach().numpy().T / scale[:, None]
    bias = hidden.bias.detach().numpy() - mean @ weight
    output_weight, output_bias = output.weight.detach().numpy()[0].copy(), output.bias.detach().numpy().copy()
    return Detector(weight.astype(np.float32), bias.astype(np.float32), output_weight, output_bias)


def _inputs(outputs: Outputs) -> NDArray[np.float32]:
    """The detector's inputs [n,1025]: the features and the energy."""
    return np.concatenate([outputs.features, energy(outputs.logits)[:, None]], axis=1)


def _train_layers(inputs: Tensor, labels: Tensor) -> tuple[nn.Linear, nn.Linear]:
    """AdamW with a one-cycle learning rate (Smith 2018); the same inputs give the same layers."""
    generator = torch.Generator().manual_seed(SEED)
    hidden, output = nn.Linear(inputs.shape[1], HIDDEN_UNITS), nn.Linear(HIDDEN_UNITS, 1)
    for layer in (hidden, output):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
    batches = -(-len(inputs) // BATCH_SIZE)
    optimizer = torch.optim.AdamW([*hidden.parameters(), *output.parameters()], weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        for index in torch.chunk(torch.randperm(len(inputs), generator=generator), batches):
            scores = output(functional.relu(hidden(inputs[index])))[:, 0]
            optimizer.zero_grad()
            torch.autograd.backward(functional.binary_cross_entropy_with_logits(scores, labels[index]))
            optimizer.step()
            schedule.step()
    return hidden, output
