"""Fits the out-of-distribution detector: garments on one side, drawn strangers on the other.

Garments are training pictures as they are and varied (model.synthetic.variants), strangers come from
model.synthetic.outliers; the network itself is not touched, so its accuracy is not either.
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

GARMENTS, VARIANTS, STRANGERS = 8_000, 5_000, 1_200
"""Training pictures as they are, varied ones, and strangers of each family, at most; so many turned ones too."""

HIDDEN = 64
EPOCHS = 20
BATCH = 256
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01

SEED = 0


def garments(run: Predictor, train: Split) -> Outputs:
    """What training pictures get, as they are and varied: at most GARMENTS and VARIANTS of them."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED))
    plain, varied = (train.pixels[part] for part in (order[:GARMENTS], order[-VARIANTS:]))
    pixels = [serving_pixels(plain).numpy(), preprocess_all(variants.make_variants(varied.numpy(), SEED))]
    return run(np.concatenate(pixels))


def drawn(run: Predictor, train: Split, seed: int = SEED) -> dict[str, Outputs]:
    """What each family of strangers gets."""
    count = min(STRANGERS, len(train))
    pictures = train.pixels.numpy()
    return {family: run(preprocess_all(outliers.draw(family, count, pictures, seed))) for family in outliers.FAMILIES}


def turned(run: Predictor, train: Split) -> Outputs:
    """What garments lying on their side or head get that the network then takes for others: at most STRANGERS."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED + 1))[: 2 * STRANGERS]
    pixels, labels = serving_pixels(train.pixels[order]).numpy(), train.labels[order].numpy()
    quarters = [np.rot90(pixels[k::3], k + 1, (1, 2)) for k in range(3)]
    outputs = run(np.concatenate(quarters))
    wrong = outputs.logits.argmax(1) != np.concatenate([labels[k::3] for k in range(3)])
    chosen = np.random.default_rng(SEED).permutation(np.flatnonzero(wrong))[:STRANGERS]
    return Outputs(outputs.logits[chosen], outputs.features[chosen])


def fit(known: Outputs, strange: Sequence[Outputs]) -> Detector:
    """Logistic regression through one hidden layer, on standardised inputs."""
    parts = [_inputs(known), *(_inputs(outputs) for outputs in strange)]
    inputs, labels = np.concatenate(parts), np.repeat([0.0, 1.0], [len(parts[0]), sum(map(len, parts[1:]))])
    mean, scale = inputs.mean(0), inputs.std(0) + 1e-3
    hidden, output = _train(torch.from_numpy((inputs - mean) / scale), torch.from_numpy(labels).float())
    weight = hidden.weight.detach().numpy().T / scale[:, None]  # of inputs as they come
    bias = hidden.bias.detach().numpy() - mean @ weight
    output_weight, output_bias = output.weight.detach().numpy()[0].copy(), output.bias.detach().numpy().copy()
    return Detector(weight.astype(np.float32), bias.astype(np.float32), output_weight, output_bias)


def _inputs(outputs: Outputs) -> NDArray[np.float32]:
    """[n,1025]: the features and the energy."""
    return np.concatenate([outputs.features, energy(outputs.logits)[:, None]], axis=1)


def _train(inputs: Tensor, labels: Tensor) -> tuple[nn.Linear, nn.Linear]:
    """AdamW with one cycle of the learning rate (Smith 2018); the same inputs give the same layers."""
    generator = torch.Generator().manual_seed(SEED)
    hidden, output = nn.Linear(inputs.shape[1], HIDDEN), nn.Linear(HIDDEN, 1)
    for layer in (hidden, output):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
    batches = -(-len(inputs) // BATCH)
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
