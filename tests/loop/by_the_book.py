"""The loop once more, as slow and plain as it can be written: the answers that lockstep must give.

One search after the other, one image after the other, float64, LinearSVC at 1e-10. Nothing of the engine, of
representations or classifiers is used.
"""

import itertools

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC


def overlap(cell, box):
    return max(0.0, min(cell[2], box[2]) - max(cell[0], box[0])) * max(0.0, min(cell[3], box[3]) - max(cell[1], box[1]))


def fused(g, cells, fusion):
    if fusion == "global":
        return [g]
    return [{"none": c, "concat": np.concatenate([g, c]), "pool": (g + c) / 2}[fusion] for c in cells]


class Images:
    """What there is to search, as lists of arrays."""

    def __init__(self, descriptors, fusion):
        offsets = descriptors.offsets.tolist()
        whole, local = descriptors.global_.double().numpy(), descriptors.local.double().numpy()
        spans = list(itertools.pairwise(offsets))
        self.vectors = [fused(g, local[a:b], fusion) for g, (a, b) in zip(whole, spans, strict=True)]
        self.cells = [descriptors.regions.of(i).double().numpy() for i in range(len(spans))]
        self.fusion = fusion

    def rows(self, image, box):
        """(vector, label) pairs of an image with the object in `box`, or without the object where that is None."""
        if box is None:
            return [(vector, -1) for vector in self.vectors[image]]
        if self.fusion == "global":
            return [(self.vectors[image][0], 1)]
        shares = [overlap(cell, box) for cell in self.cells[image]]
        inside = [share > 1e-6 or k == int(np.argmax(shares)) for k, share in enumerate(shares)]
        pairs = [(vector, 1 if hit else -1) for vector, hit in zip(self.vectors[image], inside, strict=True)]
        return [pair for pair in pairs if pair[1] > 0] if self.fusion == "concat" else pairs


def search(images, query, boxes, rounds, budget):
    """Play one search by uncertainty.

    Args:
        images: `Images`.
        query: a `Query`.
        boxes: the box of the class in each image, None where it has none.

    Returns:
        scores of every image after every round, and the images asked before each round but the first.
    """
    known = [query.first.image, *query.negatives]
    rows = [
        pair for image in known for pair in images.rows(image, boxes[image] if image == query.first.image else None)
    ]
    scores, asked = [], []
    for number in range(rounds + 1):
        solver = LinearSVC(C=1.0, dual=True, tol=1e-10, max_iter=1_000_000, random_state=0)
        solver.fit(np.stack([vector for vector, _ in rows]), [label for _, label in rows])
        w, b = solver.coef_[0], solver.intercept_[0]
        scores.append(np.array([max(float(w @ vector) + b for vector in vectors) for vectors in images.vectors]))
        if number < rounds:
            nearest = sorted(set(range(len(images.vectors))) - set(known), key=lambda i: abs(scores[-1][i]))[:budget]
            asked.append(nearest)
            known += nearest
            rows += [pair for image in nearest for pair in images.rows(image, boxes[image])]
    return np.array(scores), np.array(asked)


def unit(vector):
    length = np.linalg.norm(vector)
    return vector / length if length else vector


def search_by_words(images, query, boxes, rounds, budget, trust, deviations):
    """Play one search that begins with words: with its examples, or with words and negatives alone.

    Similarity to words and example, standardised over the images, counts trust / (trust + relevant images known).
    Before a relevant image is known it ranks alone, and the highest scores are asked about; uncertainty after that.

    Args:
        images: `Images`.
        query: a `Query` with a text, and with or without an example.
        boxes: as for `search`.
        rounds: turns.
        budget: images of each.
        trust: relevant images at which similarity and classifier count the same.
        deviations: how far above the mean similarity the boundary lies.

    Returns:
        as `search`.
    """
    text = unit(query.text.vector.double().numpy())
    words = unit(fused(text, [text], images.fusion)[0])
    first, known, rows = [one.image for one in query.examples], [], []
    for image in [*first, *query.negatives]:
        known.append(image)
        rows += images.rows(image, boxes[image] if image in first else None)
    shown = np.zeros(len(words))
    for image in first:
        shares = [overlap(cell, boxes[image]) for cell in images.cells[image]]
        shown = images.vectors[image][0 if images.fusion == "global" else int(np.argmax(shares))]
    direction = unit(words + unit(shown))
    similarity = np.array([max(float(direction @ vector) for vector in vectors) for vectors in images.vectors])
    mean, deviation = similarity.mean(), np.sqrt(((similarity - similarity.mean()) ** 2).mean())
    scores, asked = [], []
    for number in range(rounds + 1):
        found = sum(boxes[image] is not None for image in known)
        share = trust / (trust + found) if found else 1.0
        w, b = 0.0 * direction, 0.0
        if found:
            solver = LinearSVC(C=1.0, dual=True, tol=1e-10, max_iter=1_000_000, random_state=0)
            solver.fit(np.stack([vector for vector, _ in rows]), [label for _, label in rows])
            w, b = solver.coef_[0], solver.intercept_[0]

        def score(vector, share=share, w=w, b=b):
            likeness = (float(direction @ vector) - mean) / deviation - deviations
            return share * likeness + (1 - share) * (float(w @ vector) + b)

        scores.append(np.array([max(score(vector) for vector in vectors) for vectors in images.vectors]))
        if number < rounds:
            left = sorted(set(range(len(images.vectors))) - set(known))
            order = np.abs(scores[-1]) if found else -scores[-1]
            asked.append(sorted(left, key=lambda image: order[image])[:budget])
            known += asked[-1]
            rows += [pair for image in asked[-1] for pair in images.rows(image, boxes[image])]
    return np.array(scores), np.array(asked)


def areas(scores, boxes):
    """Area under the curve of average precision over rounds."""
    truth = [box is not None for box in boxes]
    curve = [average_precision_score(truth, row) for row in scores]
    return np.trapezoid(curve) / (len(curve) - 1)
