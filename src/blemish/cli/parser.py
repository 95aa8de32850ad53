"""All verbs and their options. Nothing here imports what they do."""

from __future__ import annotations

import argparse
from pathlib import Path

from blemish.cli.arguments import corners, duration, finite, port, positive, share, shots
from blemish.version import __version__

_BESIDE = (
    "folder (default: beside the detector, evaluation/ where that is called detector, else "
    "NAME-evaluation/)"
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    root = argparse.ArgumentParser(
        prog="blemish", description="Turn good photos into a calibrated visual inspector."
    )
    root.add_argument("--version", action="version", version=f"blemish {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks")
    common.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, parents=[common])

    demo = verb(
        "demo",
        "Draw a toy factory, learn its defects, generate more, train, evaluate: the whole story.",
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder (default: demo)")
    demo.add_argument(
        "--budget", type=duration, default=90.0, help="training time a detector (default: 90s)"
    )
    _machine(demo)

    check = verb("check", "List every problem of a dataset with its fix.")
    check.add_argument("data", type=Path, metavar="DATA")
    _masks(check)

    train = verb("train", "Train an inspector on good photos.")
    train.add_argument("data", type=Path, metavar="DATA", help="MVTec tree, plain folder or manifest")
    _masks(train)
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    train.add_argument("--preset", help="paper, base or fast (default: fast)")
    train.add_argument("--config", type=Path, help="YAML laid over the preset")
    _sets(train)
    length = train.add_mutually_exclusive_group()
    length.add_argument("--budget", type=duration, help="wall-clock time, such as 30m (the default)")
    length.add_argument("--iterations", type=positive, help="optimiser updates")
    length.add_argument("--epochs", type=positive, help="passes over the good photos")
    train.add_argument("--seed", type=int, help="short for --set training.seed=SEED")
    train.add_argument(
        "--examples",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a dataset whose training defects are learned from too, such as `generate` wrote",
    )
    train.add_argument("--textures", type=Path, help="folder of textures such as DTD")
    train.add_argument(
        "--false-alarm-rate",
        type=share,
        help="the largest share of good photos that may be rejected (default: 0.05)",
    )
    train.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    train.add_argument(
        "--track",
        action="append",
        default=[],
        help="tensorboard, mlflow or wandb, beside JSON lines",
    )
    _machine(train)

    learn = verb("learn", "Learn to paint defects from a few photos of each type.")
    learn.add_argument("data", type=Path, metavar="DATA", help="good photos, defects and their masks")
    learn.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    learn.add_argument(
        "--shots", type=shots, help="photos of each type to learn from, lowest names first, or third"
    )
    learn.add_argument("--config", type=Path, help="YAML of settings")
    _sets(learn)
    length = learn.add_mutually_exclusive_group()
    length.add_argument("--budget", type=duration, help="of a network, such as 20m (the default)")
    length.add_argument("--iterations", type=positive, help="of a network: optimiser updates")
    learn.add_argument("--seed", type=int, help="short for --set learning.seed=SEED")
    learn.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    _machine(learn)

    generate = verb("generate", "Paint defects into good photos: a labelled dataset.")
    generate.add_argument("generator", type=Path, metavar="GENERATOR")
    generate.add_argument("data", type=Path, metavar="DATA", help="where the good photos are")
    generate.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new dataset")
    generate.add_argument("--count", type=positive, default=100, help="pairs of each type (100)")
    generate.add_argument("--types", nargs="+", help="only these types")
    generate.add_argument("--processes", type=positive, help="that paint (as many as cores)")
    generate.add_argument("--masks", type=Path, metavar="MASKS", help="your masks: MASKS/<type>/*.png")
    generate.add_argument("--formats", nargs="+", default=[], choices=["coco", "yolo"])
    _sets(generate)
    _places(generate)

    masks = verb("masks", "Draw masks as the defects' own, to look at, to edit and to paint with.")
    masks.add_argument("generator", type=Path, metavar="GENERATOR")
    masks.add_argument("data", type=Path, metavar="DATA", help="where the good photos are")
    masks.add_argument("--out", type=Path, required=True, metavar="MASKS")
    masks.add_argument("--count", type=positive, default=20, help="masks of each type (20)")
    masks.add_argument("--types", nargs="+", help="only these types")
    masks.add_argument(
        "--learned", action="store_true", help="from the mask embedding (learning.masks=true)"
    )
    _places(masks)

    review = verb("review", "Draw contact sheets of generated pairs with their scores.")
    review.add_argument("data", type=Path, metavar="DIR", help="what `generate` wrote")
    review.add_argument("--generator", type=Path, help="shows its real defects beside")
    review.add_argument("--shown", type=positive, default=24, help="pairs on a sheet (24)")

    again = verb("reproduce-sample", "Make one generated pair again, bit for bit.")
    again.add_argument("generator", type=Path, metavar="GENERATOR")
    again.add_argument("data", type=Path, metavar="DIR", help="what `generate` wrote")
    again.add_argument("sample", metavar="TYPE/INDEX", help="such as crack/12")
    again.add_argument("--out", type=Path, required=True, metavar="PNG", help="file of the photo")
    again.add_argument("--masks", type=Path, metavar="MASKS", help="as given to `generate`")
    _sets(again)
    _machine(again)

    inspect = verb("inspect", "Print one JSON line a photo.")
    inspect.add_argument("detector", type=Path, metavar="DETECTOR")
    inspect.add_argument("photos", type=Path, nargs="+", metavar="PHOTO", help="files or folders")
    inspect.add_argument("--overlays", type=Path, metavar="DIR", help="write photo and heat map here")
    limit = inspect.add_mutually_exclusive_group()
    limit.add_argument("--threshold", type=finite, help="another threshold on the raw score")
    limit.add_argument("--false-alarm-rate", type=share, help="another rate of false alarms")
    inspect.add_argument("--batch", type=positive, default=8)
    _machine(inspect)

    calibrate = verb("calibrate", "Set the threshold anew on good photos: another lamp, no training.")
    calibrate.add_argument("detector", type=Path, metavar="DETECTOR")
    calibrate.add_argument(
        "photos",
        type=Path,
        nargs="+",
        metavar="PHOTO",
        help="files or folders: good parts alone. Photos of one part count as one where PyTorch is "
        "installed; where it is not, give one of each",
    )
    calibrate.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new detector")
    calibrate.add_argument("--false-alarm-rate", type=share, help="(default: what it promised before)")
    calibrate.add_argument("--batch", type=positive, default=8)
    _machine(calibrate)

    evaluate = verb("evaluate", "Measure an inspector on test photos; write metrics and report.")
    evaluate.add_argument("detector", type=Path, metavar="DETECTOR")
    evaluate.add_argument("data", type=Path, metavar="DATA")
    _masks(evaluate)
    evaluate.add_argument("--out", type=Path, help=_BESIDE)
    evaluate.add_argument("--batch", type=positive, default=8)
    _machine(evaluate)

    export = verb("export", "Write an inspector that runs without PyTorch, checked against it.")
    export.add_argument("detector", type=Path, metavar="DETECTOR")
    export.add_argument(
        "--data",
        type=Path,
        required=True,
        help="photos to compare on: the dataset that it was trained on",
    )
    export.add_argument("--to", required=True, choices=["onnx", "openvino"], help="the engine")
    export.add_argument("--precision", default="f32", choices=["f32", "bf16", "int8"])
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new folder")
    export.add_argument(
        "--tolerance",
        type=finite,
        help="difference of a score (and a third of it for maps) that 95 of 100 photos may not exceed",
    )

    bench = verb("bench", "Time inspectors on this machine: trained and exported.")
    bench.add_argument("detectors", type=Path, nargs="+", metavar="DETECTOR")
    bench.add_argument("--photos", type=Path, help="real photos (default: noise)")
    bench.add_argument("--batch", type=positive, default=8, help="photos at a time, for throughput")
    bench.add_argument("--budget", type=duration, default=10.0, help="for each figure (default: 10s)")
    _machine(bench)

    serve = verb("serve", "Inspect over HTTP, with a page to paint and review defects.")
    serve.add_argument("detector", type=Path, metavar="DETECTOR")
    serve.add_argument("--generator", type=Path, metavar="GENERATOR", help="to paint defects with")
    serve.add_argument("--data", type=Path, help="a dataset: its good photos are painted on")
    serve.add_argument(
        "--pairs", type=Path, metavar="DIR", help="generated pairs to review, or a new one"
    )
    serve.add_argument("--reports", type=Path, metavar="DIR", help="report pages to show")
    serve.add_argument("--host", default="127.0.0.1", help="address (default: this machine only)")
    serve.add_argument("--port", type=port, default=8000, help="0: any that is free")
    serve.add_argument("--key-file", type=Path, help="holds what clients send as X-API-Key")
    serve.add_argument("--no-key", action="store_true", help="let other machines in without a key")
    serve.add_argument("--queue", type=positive, help="photos that may wait (default: 64)")
    serve.add_argument("--batch", type=positive, help="photos at a time (default: 8)")
    serve.add_argument("--max-bytes", type=positive, help="of a request (default: 32,000,000)")
    serve.add_argument("--max-pixels", type=positive, help="of a photo (default: 25,000,000)")
    serve.add_argument("--timeout", type=duration, help="to send and to answer (default: 30s)")
    _machine(serve)

    watch = verb("watch", "Inspect the photos that arrive in a folder.")
    watch.add_argument("detector", type=Path, metavar="DETECTOR")
    watch.add_argument("folder", type=Path, metavar="FOLDER")
    watch.add_argument("--out", type=Path, required=True, metavar="DIR", help="findings and heat maps")
    watch.add_argument("--every", type=duration, default=1.0, help="look this often (default: 1s)")
    watch.add_argument("--once", action="store_true", help="inspect what is there, then end")
    watch.add_argument("--no-overlays", action="store_true", help="write no heat maps")
    watch.add_argument("--false-alarm-rate", type=share, help="another rate of false alarms")
    _machine(watch)

    reproduce = verb("reproduce", "Run a paper's experiment, the loop, or an ablation; write a report.")
    reproduce.add_argument(
        "experiment", choices=["anomalydiffusion", "diffusionad", "loop", "ablation"]
    )
    reproduce.add_argument("--data", type=Path, required=True, help="a benchmark's tree, or a product")
    reproduce.add_argument("--out", type=Path, required=True, metavar="DIR", help="goes on with it")
    reproduce.add_argument("--scale", default="fast", choices=["fast", "paper"])
    reproduce.add_argument("--seeds", type=int, nargs="+", default=[0])
    reproduce.add_argument("--categories", nargs="+", default=[], help="only these products")
    reproduce.add_argument(
        "--methods", nargs="+", help="anomalydiffusion: what localisers learn from, by +"
    )
    reproduce.add_argument("--pairs", type=positive, help="generated of each type, of the scale's")
    length = reproduce.add_mutually_exclusive_group()
    length.add_argument("--budget", type=duration, help="a detector's training time, such as 10m")
    length.add_argument("--iterations", type=positive, help="a detector's, of the scale's")
    reproduce.add_argument(
        "--variant",
        help="of the ablation: reconstruction, noise, guidance, shares; with --generator-iterations "
        "also parts (the default), tokens, editing",
    )
    reproduce.add_argument(
        "--generated", action="append", default=[], metavar="NAME=DIR", help="somebody's pairs"
    )
    reproduce.add_argument(
        "--maps", action="append", default=[], metavar="NAME=DIR", help="somebody's score maps"
    )
    reproduce.add_argument(
        "--paper-protocol",
        action="store_true",
        help="anomalydiffusion, diffusionad: also tell of networks chosen on the test photos",
    )
    for word, place, network in (
        ("--lpips", "DIR", "VGG16, for IC-LPIPS"),
        ("--inception", "FILE", "InceptionV3"),
        ("--resnet", "FILE", "ResNet-34"),
    ):
        told = f"anomalydiffusion: the weights of {network}"
        reproduce.add_argument(word, type=Path, metavar=place, help=told)
    reproduce.add_argument("--generator-iterations", type=positive, help="where a network learns")
    reproduce.add_argument(
        "--generator-set", dest="generator_sets", action="append", default=[], metavar="NAME=VALUE"
    )
    _sets(reproduce)
    reproduce.add_argument(
        "--device",
        nargs="+",
        default=["auto"],
        help="auto (every graphics card), or one for each process, such as cpu cpu",
    )

    verb("doctor", "Say what this machine offers, what is installed, and whose weights fit.")
    return root


def _sets(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--set", dest="sets", action="append", default=[], metavar="NAME=VALUE", help="one setting"
    )


def _places(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--seed", type=int, default=0)
    where = verb.add_mutually_exclusive_group()
    where.add_argument("--region", type=Path, metavar="PNG", help="white where defects may be")
    where.add_argument("--polygon", type=corners, help='corners in pixels, "x,y x,y x,y"')
    _machine(verb)


def _masks(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--masks", default="auto", choices=["auto", "none"], help="none: ignore them")


def _machine(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    verb.add_argument("--precision", default="auto", choices=["auto", "bf16", "fp32"])
