"""
Tables and embeddings
=====================

The method takes any table of numbers. Its rows need not be latents of an autoencoder.
This example draws new rows of a measured table, and new embeddings of texts.
"""

# %%
# New rows of a table
# -------------------
#
# The table has 30 measurements of each of 569 breast tumours, and says which tumours
# are malignant. All measurements are positive and skewed, so their logarithms are
# closer to a Gaussian. One ellipsoid for each kind is fitted to half of the rows. The
# other half is unseen.

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

import ellipsoid as el
from ellipsoid import metrics

table = load_breast_cancer()
rows = StandardScaler().fit_transform(np.log(table.data + 0.01))
kinds = np.where(table.target == 0, "malignant", "benign")
train, unseen = rows[::2], rows[1::2]

shape = el.fit_by_label(train, kinds[::2])
new = {
    kind: np.asarray(
        el.sample(el.key(0), shape, n, label=kind, law="normal", level=4).latents
    )
    for kind, n in zip(*np.unique(kinds[1::2], return_counts=True), strict=True)
}
for kind, values in new.items():
    print(kind, values.shape)

# %%
# Each panel shows two measurements. The new rows have the ranges and the correlations
# of the measured ones.

figure = Figure(figsize=(7.5, 3.4), dpi=150, layout="constrained")
left, right = figure.subplots(1, 2, sharex=True, sharey=True)
x, y = [
    list(table.feature_names).index(name) for name in ("mean area", "mean concavity")
]
for kind, color in {"benign": "#0072B2", "malignant": "#D55E00"}.items():
    measured = unseen[kinds[1::2] == kind]
    left.scatter(measured[:, x], measured[:, y], s=8, color=color, label=kind)
    right.scatter(new[kind][:, x], new[kind][:, y], s=8, color=color)
left.set(
    title="measured",
    xlabel="log mean area, standardised",
    ylabel="log mean concavity, standardised",
)
right.set(title="new", xlabel="log mean area, standardised")
legend = left.legend()
# sphinx_gallery_thumbnail_number = 1

# %%
# The same numbers judge tables and images: precision, recall, and the test for
# copies.

new_rows = np.concatenate(list(new.values()))
precision, recall = metrics.precision_recall(unseen, new_rows)
copies = metrics.copy_test(new_rows, train, unseen)
print(f"precision {precision}, recall {recall}")
print(f"near copies {copies.share.value:.1%}, expected {copies.expected:.1%}")
print(f"p-value {copies.p_value:.2f}")

# %%
# In a scikit-learn pipeline, ``EllipsoidSampler`` does the fitting and the drawing.
# It describes the rows by one ellipsoid.

from sklearn.pipeline import make_pipeline

from ellipsoid.estimator import EllipsoidSampler

sampler = EllipsoidSampler(n_components=0.99, law="uniform", level=2.45)
pipeline = make_pipeline(StandardScaler(), sampler)
scaler, sampler = pipeline.fit(np.log(table.data + 0.01))
measurements = (
    np.exp(scaler.inverse_transform(sampler.sample(5, random_state=0))) - 0.01
)
measurements[:, :4].round(2)

# %%
# New embeddings
# --------------
#
# An embedding is a vector that stands for a text. Here the texts are the descriptions
# of NumPy's functions, and their embeddings are 20 principal components of the words
# in them. Embeddings of a language model have more dimensions, and are used in the
# same way.

import inspect

from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import Normalizer

texts = {
    name: inspect.getdoc(getattr(np, name))
    for name in dir(np)
    if callable(getattr(np, name))
}
texts = {name: text for name, text in texts.items() if text and len(text) > 300}
words = TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=3)
embed = make_pipeline(words, TruncatedSVD(20, random_state=0), Normalizer())
embeddings = embed.fit_transform(texts.values())
embeddings.shape

# %%
# A new embedding stands for a text that nobody has written. The texts next to it say
# what it would be about.

mixture = el.fit_mixture(embeddings, 12, key=el.key(0))
draws = el.sample(el.key(1), mixture, 8, law="normal", level=2)

names = np.array(list(texts))
for embedding in np.asarray(draws.latents):
    nearest = np.argsort(np.linalg.norm(embeddings - embedding, axis=1))[:4]
    print(", ".join(names[nearest]))
