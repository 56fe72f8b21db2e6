"""The command line: it parses, calls the library, and says what was written."""

import dataclasses
import json
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro
from tyro.conf import Positional, arg

import ellipsoid as el
from ellipsoid.archive import digest
from ellipsoid.evaluation.recommend import load_recommendation
from ellipsoid.generation.sinks import choose_sink
from ellipsoid.models.autoencoder import AutoencoderConfig
from ellipsoid.models.steps import TrainConfig

HalfWidth = Literal["std", "histogram", "histogram_raw", "quantile", "mad", "core"]
# Neighbours of more images take long, and the errors are small.
_MOST_UNSEEN = 5_000
# Sets of faces without attributes.
_FACES = ("olivetti", "lfw")


@dataclass(frozen=True)
class Demo:
    """See the whole method at work on embedded data: train, fit, draw, decode, report.

    Takes a few minutes on two cores and downloads nothing.
    """

    out: Path = Path("run")
    """Folder for everything that is made."""
    full: bool = False
    """The source's shape: 64 pixels, 256 latents. Takes about half an hour on two cores."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> None:
        """Run the demonstration and print what was measured."""
        from ellipsoid.demo import DemoConfig, run_demo

        config = DemoConfig.full(self.seed) if self.full else DemoConfig.small(self.seed)
        _print_table(run_demo(self.out, config).items())
        _say(f"wrote {self.out}; open {self.out / 'report.html'} in a browser")


@dataclass(frozen=True)
class Train:
    """Train an autoencoder on images, and fit a PCA state to its latents.

    Ctrl-C ends the training after the epoch under way; the same command with --resume goes on there.
    """

    images: Positional[str]
    """A folder or a .zip of images, CelebA as it is downloaded, a .npy or .npz array, an embedded set (faces,
    digits), or a set that scikit-learn downloads (olivetti, lfw)."""
    out: Path
    """Run folder: configuration, checkpoints, metrics, latents.npy and state.npz."""
    split: Literal["all", "train", "valid", "test"] = "all"
    """Part of CelebA."""
    cache: Path | None = None
    """A .npy file to keep decoded images in: they are decoded once, and may be larger than memory."""
    resume: bool = False
    """Go on from the newest checkpoint in the run folder."""
    autoencoder: Annotated[AutoencoderConfig, arg(name="")] = field(default_factory=AutoencoderConfig)
    training: Annotated[TrainConfig, arg(name="")] = field(default_factory=TrainConfig)

    def run(self) -> None:
        """Train, encode, fit."""
        from flax import nnx

        from ellipsoid.models.autoencoder import Autoencoder
        from ellipsoid.models.images import load_image_set
        from ellipsoid.models.training import train
        from ellipsoid.runs import check_run_folder, fit_run, record_images

        check_run_folder(self.out, self.resume)
        config = self.autoencoder
        found = load_image_set(
            self.images, config.image_size, config.channels, split=self.split, cache=self.cache
        )
        training = self.training
        if training.horizontal_flip is None:
            # Attributes are those of faces: CelebA's, or of the embedded ones.
            is_faces = bool(found.attributes) or self.images in _FACES
            training = dataclasses.replace(training, horizontal_flip=is_faces)
        autoencoder = Autoencoder(config, rngs=nnx.Rngs(training.seed))
        train(autoencoder, found.images, training, out=self.out, resume=self.resume)
        fit_run(autoencoder, found.images, self.out)
        record_images(self.out, self.images, split=self.split, cache=self.cache)
        _say(f"wrote {self.out}: checkpoints, metrics.jsonl, latents.npy, state.npz")


@dataclass(frozen=True)
class Fit:
    """Fit a PCA state to latents, or a mixture of several."""

    latents: Positional[Path]
    """A .npy array of latents, (n, D), from any framework; or a run folder."""
    out: Path
    """The state or mixture, a .npz file."""
    n_components: int | float | None = None
    """A number of components, or a share of the variance below 1; all that have variance by default."""
    half_width: HalfWidth = "std"
    """How each component's standard deviation is read off the data. A mixture knows std only."""
    n_parts: tuple[int, ...] = ()
    """Fit a mixture of so many parts; of several numbers, the one under which rows held out are likeliest.
    With labels, the number of parts for each label."""
    labels: Path | None = None
    """Fit a mixture with parts for each label: a .npy array of labels, or a .npz file of attributes, one
    array of booleans each."""

    def run(self) -> None:
        """Fit and save."""
        latents = _load_array(self.latents / "latents.npy" if self.latents.is_dir() else self.latents)
        if not self.n_parts and self.labels is None:
            state = el.fit(latents, self.n_components, self.half_width)
            shared, what = state, ""
        else:
            if self.half_width != "std":
                raise ValueError(f"half_width: expected std for a mixture; got {self.half_width}")
            state = self._fit_mixture(latents)
            shared, what = state.shared, f"{state.n_parts} parts, "
        state.save(self.out)
        share = float(np.sum(shared.explained_variance_ratio))
        _say(f"wrote {self.out}: {what}{state.n_components} components, {share:.1%} of the variance")

    def _fit_mixture(self, latents: np.ndarray) -> el.Mixture:
        if self.labels is None:
            return el.fit_mixture(latents, self.n_parts, self.n_components, progress=True)
        if len(self.n_parts) > 1:
            raise ValueError(f"n_parts: expected one number for all labels; got {self.n_parts}")
        labels = _load_array(self.labels)
        n_parts = self.n_parts[0] if self.n_parts else 1
        return el.fit_by_label(latents, labels, self.n_components, n_parts=n_parts, progress=True)


@dataclass(frozen=True)
class DrawOptions:
    """How to draw."""

    law: Literal["redraw", "sequential", "uniform", "normal"] | None = None
    """How draws are spread inside the region; redraw by default. If none of law, level, fact and region is
    given, a run that was evaluated has its own defaults for them all: what is recommended."""
    level: float | None = None
    """Half-width of each ellipse in standard deviations; 1.645 by default."""
    fact: float | None = None
    """Factor on the level; 1 by default."""
    region: Literal["pairwise", "ellipsoid", "box"] | None = None
    """What the draws stay in; pairwise by default."""
    goal: Literal["fidelity", "balanced", "diversity"] | None = None
    """What to recommend for: balanced by default. A run that was not evaluated is served from theory."""
    label: tuple[str, ...] = ()
    """Of a mixture that was fitted by label: a label, or several, any of which will do; or attributes as
    Smiling=true Male=false, all of which must be so."""
    seed: int = 0
    """Of the sequence; the same seed gives the same rows."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Of latents; bfloat16 in .zarr only."""
    beside: tuple[Literal["latents", "scores", "gauge", "part"], ...] = ()
    """What to write beside the latents or images; the part of a mixture only."""
    chunk: int | None = None
    """Rows that are written at a time, about 16 MB by default; one shard of .zarr, .tar and .parquet."""
    verify: bool = False
    """Read back and compare what earlier runs wrote."""
    processes: int | None = None
    """Share the work between so many processes that see the same folder."""
    process_id: int | None = None
    """Number of this process, from 0."""
    distributed: bool = False
    """Learn both from Slurm, Kubernetes or a TPU pod, by jax.distributed.initialize."""

    def generate(self, path, n, out, **decoder) -> None:
        """Draw `n` rows of a state, or of a run's state, into `out`."""
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        options["label"] = _as_label(self.label)
        key, goal = el.key(options.pop("seed")), options.pop("goal")
        chosen = {name: options.pop(name) for name in ("law", "level", "fact", "region")}
        state, drawing = _what_to_draw(path, goal, {k: v for k, v in chosen.items() if v is not None})
        if options.pop("distributed"):
            jax.distributed.initialize()
        sink = choose_sink(out)
        place = el.generate(key, state, n, sink, **drawing, **decoder, **options)
        content = sink.published()
        if content is None:
            _say(f"wrote this process's share to {place}; whichever finishes last names it {out}")
            return
        manifest = json.loads(content)
        _say(f"wrote {place}: {n:,} {'images' if decoder else 'latents'}, {manifest['bytes'] / 1e6:,.1f} MB")
        if manifest["judged"]:
            share = manifest["outside"] / manifest["judged"]
            _say(f"rounding to {self.dtype} has put {share:.2%} of the latents outside of the region")


@dataclass(frozen=True)
class Sample:
    """Draw latents from a state."""

    state: Positional[Path]
    """A state or mixture (.npz), or a run folder."""
    n: int
    """How many."""
    out: str
    """A name that ends in .npy, .zarr, .parquet or .tar."""
    draw: Annotated[DrawOptions, arg(name="")] = field(default_factory=DrawOptions)

    def run(self) -> None:
        """Draw and write."""
        self.draw.generate(self.state, self.n, self.out)


@dataclass(frozen=True)
class Generate:
    """Draw latents from a run's state and decode them into images."""

    folder: Annotated[Positional[Path], arg(name="run")]
    """A run folder, as made by train or demo."""
    n: int
    """How many."""
    out: str
    """A folder for PNG images, or a name that ends in .npy, .zarr or .tar."""
    state: Path | None = None
    """A state or mixture (.npz) to draw from instead of the run's own."""
    draw: Annotated[DrawOptions, arg(name="")] = field(default_factory=DrawOptions)

    def run(self) -> None:
        """Draw, decode and write."""
        from ellipsoid.models.autoencoder import decode_function
        from ellipsoid.runs import load_autoencoder

        decode = decode_function(load_autoencoder(self.folder))
        source = self.folder if self.state is None else self.state
        self.draw.generate(source, self.n, self.out, decode=decode, decoder_digest=digest(decode))


@dataclass(frozen=True)
class Report:
    """Measure, draw and judge the latents of a run: one page, report.html, with all figures."""

    folder: Annotated[Positional[Path], arg(name="run")]
    """A run folder, or one with latents.npy from any framework, and state.npz if that is fitted already."""
    images: str | None = None
    """The training images, as for train, to show reconstructions and nearest neighbours too."""
    seed: int = 0
    """Of everything that is drawn."""

    def run(self) -> None:
        """Write the report."""
        from ellipsoid.report import load_report_inputs, write_report

        verdict = write_report(self.folder, load_report_inputs(self.folder, self.images), seed=self.seed)
        _say(verdict.headline)
        for concern in verdict.concerns:
            _say(concern.text)
        _say(f"wrote {self.folder / 'report.html'}, diagnostics.json and figures/")


@dataclass(frozen=True)
class Evaluate:
    """Judge all ways to draw by their decoded images, against images that were never trained on.

    The images that training kept back chose its best epoch. So they flatter the decoder a little, more than
    those of --against; but no state or baseline has seen them: both are fitted to the other images.

    May be interrupted; the same command goes on there. What it recommends is what generate and sample use.
    """

    folder: Annotated[Positional[Path], arg(name="run")]
    """A run folder, as made by train or demo."""
    against: str | None = None
    """Unseen images, as for train. By default those that training kept back to judge its epochs by."""
    against_split: Literal["all", "train", "valid", "test"] = "test"
    """Part of unseen images that have parts, as CelebA has."""
    images: str | None = None
    """The training images, as for train. By default those that the run says it was trained on."""
    features: Literal["network", "pixels", "latents", "inception"] = "network"
    """What images are compared by: a small network that is trained on the training images, principal
    components of pixels, the run's own latents, or Inception's features, if torch-fidelity is installed."""
    weights: Path | None = None
    """File of Inception's weights, as torch-fidelity publishes it."""
    download: bool = False
    """Without a file, download Inception's weights (91 MB)."""
    n: int | None = None
    """How many unseen images to use, and to generate for each setting; all, up to 5,000, by default. No
    more than there are training images."""
    quick: bool = False
    """Three laws and four spreads only."""
    seed: int = 0
    """Of everything that is drawn."""

    def run(self) -> None:
        """Evaluate, recommend, write."""
        from ellipsoid.blocks import subset
        from ellipsoid.evaluation import MIN_IMAGES, evaluate, table_of, write_evaluation
        from ellipsoid.evaluation.candidates import MIXTURE_ROWS
        from ellipsoid.evaluation.recommend import GOALS, save_recommendations
        from ellipsoid.models.autoencoder import decode_latents, encode_images
        from ellipsoid.models.features import feature_space
        from ellipsoid.models.images import load_images
        from ellipsoid.models.sources import has_splits
        from ellipsoid.models.training import split
        from ellipsoid.report import load_report_inputs
        from ellipsoid.runs import load_run

        if self.n is not None and self.n < MIN_IMAGES:
            raise ValueError(f"n: expected at least {MIN_IMAGES} images; got {self.n}")
        run = load_run(self.folder)
        autoencoder, config = run.autoencoder, run.autoencoder.config
        found = _training_images(self.folder, self.images, config)
        material = load_report_inputs(self.folder, None if found is None else found.images)
        latents, train, state = material.latents, material.images, material.state
        labels = None if found is None else found.labels
        if self.against is not None:
            part = self.against_split if has_splits(self.against) else "all"
            real = load_images(self.against, config.image_size, config.channels, split=part)
        elif run.validation == "given":
            raise ValueError(
                "against: expected unseen images, since this run was trained with others for validation and "
                "kept none back; got none"
            )
        elif train is None or len(train) != len(latents):
            got = "the run does not say which" if train is None else f"got {len(train)}"
            raise ValueError(
                f"images: expected the {len(latents)} training images, some of which were kept back; {got}: "
                "give them, or unseen ones as --against"
            )
        else:
            rows, kept_back = split(len(train), run.training)
            if len(kept_back) < MIN_IMAGES:
                raise ValueError(
                    f"against: expected unseen images, since training kept back only {len(kept_back)}, and "
                    f"{MIN_IMAGES} are needed; got none"
                )
            real, train, latents = train[kept_back], train[rows], latents[rows]
            labels = None if labels is None else labels[rows]
        n_train = len(latents if train is None else train)
        real = subset(real, min(_MOST_UNSEEN if self.n is None else self.n, n_train))
        folder = self.folder / "evaluation"
        features = feature_space(
            self.features,
            images=train,
            labels=_as_classes(labels),
            autoencoder=autoencoder,
            path=folder / "network.npz",
            horizontal_flip=bool(run.training.horizontal_flip),
            weights=self.weights,
            download=self.download,
        )
        if run.training.horizontal_flip and train is not None and len(train) == len(latents) < MIXTURE_ROWS:
            # The autoencoder knows mirrored images as well, and parts of mixtures can do with more rows.
            mirrored = train[:, :, ::-1]
            latents = np.concatenate([latents, encode_images(autoencoder, mirrored)])
            train = np.concatenate([train, mirrored])
        if self.against is None:
            # That of the run was fitted to the images kept back, too.
            state = el.fit(latents)
        evaluation = evaluate(
            latents,
            state,
            lambda z: decode_latents(autoencoder, z),
            real,
            features,
            key=el.key(self.seed),
            train_images=train,
            real_latents=encode_images(autoencoder, real),
            candidates="quick" if self.quick else "full",
            out=folder,
        )
        recommended = [el.recommend(state, evaluation, goal) for goal in GOALS]
        written = write_evaluation(evaluation, folder)
        written += save_recommendations(self.folder, material.state, recommended)
        # All columns, which no terminal is wide enough for, are in the files.
        header = ("setting", "level", "precision", "recall", "Fréchet")
        _print_table([[line[name] for name in header] for line in table_of(evaluation)], header)
        _say(evaluation.note)
        for recommendation in recommended:
            _say(f"{recommendation.goal}: {recommendation.reason}")
        _say(f"wrote {', '.join(str(path) for path in written)}")


Command = Demo | Train | Fit | Sample | Generate | Report | Evaluate


def _training_images(folder, images, config):
    """Images that a run was trained on, with labels if there are any; None if it does not say which."""
    from ellipsoid import demo
    from ellipsoid.models.images import ImageSet, load_image_set
    from ellipsoid.runs import recorded_images

    recorded = recorded_images(folder) or {}
    source = images or recorded.get("source")
    if source is None:
        return None
    if images is None and source == demo.SOURCE:
        return ImageSet(demo.training_faces(recorded["n"], config.image_size, recorded["seed"]))
    # Of images that have moved, the part that was trained on is still the same.
    options = {name: recorded[name] for name in ("split", "cache") if name in recorded}
    return load_image_set(source, config.image_size, config.channels, **options)


def _as_classes(labels):
    """Integers for labels of any type; None if there are not two different ones to tell apart."""
    if labels is None:
        return None
    values, classes = np.unique(labels, axis=0, return_inverse=True)
    return classes.reshape(-1) if len(values) > 1 else None


def _what_to_draw(path, goal, chosen):
    """Give the state at a path and how to draw from it: as chosen, as recommended, or by default."""
    if goal is not None and chosen:
        raise ValueError(f"goal: expected none beside {', '.join(chosen)}; got {goal}")
    recommendation = None
    if not chosen and path.is_dir():
        recommendation = load_recommendation(path, goal or "balanced")
    if recommendation is None:
        state = _load_state(path)
        if goal is None:
            return state, chosen
        recommendation = el.recommend(state, goal=goal)
    _say(
        f"drawing for {recommendation.goal}: law {recommendation.law}, level {recommendation.level:.4g}, "
        f"region {recommendation.region}, {recommendation.n_components} components. {recommendation.reason}"
    )
    return recommendation.state, recommendation.options


def _load_array(path: Path) -> Any:
    """Array of a .npy file, or arrays by name of a .npz file."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected a .npy array, or a run folder")
    try:
        found = np.load(path, allow_pickle=False)
        return found if isinstance(found, np.ndarray) else dict(found)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable .npy array ({error})") from None


def _as_label(words: tuple[str, ...]):
    """Labels, or attributes by name where one has a value."""
    if not any("=" in word for word in words):
        return words or None
    label = {}
    for word in words:
        name, _, value = word.rpartition("=") if "=" in word else (word, "", "true")
        if value.lower() not in ("true", "false"):
            raise ValueError(f"label: expected {name}=true or {name}=false; got {word}")
        label[name] = value.lower() == "true"
    return label


def _load_state(path: Path) -> el.PCAState | el.Mixture:
    if path.is_dir() and not (path / "state.npz").exists():
        raise FileNotFoundError(
            f"{path}: no state.npz in this folder; give a run folder, or fit a state first"
        )
    return el.load(path / "state.npz" if path.is_dir() else path)


def _say(text: str) -> None:
    print(text, flush=True)


def _print_table(rows, header=()) -> None:
    from rich.box import HEAVY_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, show_header=bool(header), box=None if header else HEAVY_HEAD)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def main(args: list[str] | None = None) -> int:
    """Parse and run one command.

    Returns
    -------
    int
        Exit status: 0, 1 for an error that is said in one line, 130 when interrupted.
    """
    try:
        command = tyro.cli(
            Command,
            prog="ellipsoid",
            description="Turn a plain autoencoder into a generator.",
            args=args,
            config=(
                tyro.conf.OmitSubcommandPrefixes,
                tyro.conf.OmitArgPrefixes,
                tyro.conf.FlagCreatePairsOff,
            ),
        )
        command.run()
    except KeyboardInterrupt as error:
        print(f"ellipsoid: {error or 'interrupted'}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        print(f"ellipsoid: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
