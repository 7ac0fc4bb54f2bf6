"""The public names of the design: a name may gain keywords, never lose one or change the order or meaning of the others."""

import inspect
import math

import pytest
import torch

import salnb
import salnb.experiments
import salnb.representations
import salnb.sweeps
import salnb.weights

REQUIRED = inspect.Parameter.empty
# Name -> parameters before and after the star (keyword only), each with its default where the design gives one.
PUBLIC = {
    "neuron_sensitivity": ({"weight": REQUIRED, "pre_activation": REQUIRED, "activation": "tanh"}, {}),
    "log_sensitivity": ({"sensitivity": REQUIRED, "dim": -1}, {}),
    "sensitivity_gradient": (
        {"weight": REQUIRED, "inputs": REQUIRED, "pre_activation": REQUIRED, "activation": "tanh"},
        {},
    ),
    "DeepNet": (
        {"n_in": REQUIRED, "width": REQUIRED, "n_out": REQUIRED, "depth": REQUIRED},
        {"gain": REQUIRED, "replicas": (), "init": "gaussian", "activation": "tanh", "generator": None, "device": None,
         "dtype": None},
    ),
    "TanhRNN": (
        {"n_in": REQUIRED, "n_hidden": REQUIRED, "n_out": REQUIRED},
        {"gain": REQUIRED, "replicas": (), "connectivity": 1.0, "init": "gaussian", "generator": None, "device": None,
         "dtype": None},
    ),
    "rnn_step": ({"module": REQUIRED}, {}),
    # lr and decay have no default in the design; the library gives them one, which it may keep but not take away.
    "SAL": (
        {"model": REQUIRED},
        {"lr": 2e-3, "target": 1.0, "decay": 0.9, "rule": "one_sided", "layers": None, "average": "mean",
         "example": None},
    ),
    "SAL.discard": ({"self": REQUIRED}, {}),
    "SAL.counting": ({"self": REQUIRED, "mask": REQUIRED}, {}),
    "SAL.report": ({"self": REQUIRED}, {}),
    "sensitivity_of": ({"function": REQUIRED, "inputs": REQUIRED}, {"probes": None, "generator": None}),
    "SAL.step": ({"self": REQUIRED, "closure": None}, {}),
    "SAL.gate_gradients_": ({"self": REQUIRED}, {}),
    "SAL.log_sensitivity": ({"self": REQUIRED}, {}),
    "SAL.detach": ({"self": REQUIRED}, {}),
    "DeepNet.forward": ({"self": REQUIRED, "inputs": REQUIRED}, {}),
    "TanhRNN.forward": ({"self": REQUIRED, "inputs": REQUIRED, "state": None}, {}),
    "sal_pretrain": ({"model": REQUIRED, "batches": REQUIRED, "sal": REQUIRED}, {"steps": REQUIRED, "progress": False}),
    "lyapunov_spectrum": (
        {"step": REQUIRED, "state": REQUIRED},
        {"n_steps": REQUIRED, "k": None, "n_warmup": 0, "qr_every": 1, "inputs": None, "dt": 1.0, "jvp": None,
         "history": True, "generator": None, "progress": False, "method": "auto", "resume": None, "sensitivity": False},
    ),
    "finite_time_exponents": (
        {"step": REQUIRED, "state": REQUIRED},
        {"n_steps": REQUIRED, "k": None, "inputs": None, "dt": 1.0, "create_graph": False, "window": None},
    ),
    "rk4_step": ({"field": REQUIRED, "dt": REQUIRED}, {}),
    "covariant_vectors": (
        {"step": REQUIRED, "state": REQUIRED},
        {"n_steps": REQUIRED, "k": None, "n_warmup": 100, "n_after": 100, "inputs": None, "dt": 1.0, "jvp": None,
         "generator": None},
    ),
    "CovariantVectors.exponents": ({"self": REQUIRED}, {}),
    "CovariantVectors.angles": ({"self": REQUIRED, "first": 0, "second": 1}, {}),
    "LyapunovSpectrum.mean": ({"self": REQUIRED, "dim": None}, {}),
    "LyapunovSpectrum.local": ({"self": REQUIRED}, {}),
    "LyapunovSpectrum.log_sensitivity": ({"self": REQUIRED}, {}),
    "LyapunovSpectrum.kaplan_yorke_dimension": ({"self": REQUIRED}, {}),
    "LyapunovSpectrum.entropy_rate": ({"self": REQUIRED}, {}),
    "LyapunovSpectrum.sum": ({"self": REQUIRED}, {}),
    "experiments.train_deep": (
        {"task": REQUIRED},
        {"depth": 300, "width": 64, "gain": 0.5, "init": "gaussian", "sal": True, "optimizer": "adam", "replicas": 16,
         "steps": 600, "generator": None, "device": None, "progress": False},
    ),
    "experiments.train_lag": (
        {},
        {"lag": 300, "n_hidden": 64, "task": "xor", "gain": 0.5, "init": "gaussian", "sal": True, "optimizer": "adam",
         "replicas": 16, "steps": 3000, "generator": None, "device": None, "progress": False},
    ),
    "sweeps.sweep": ({"function": REQUIRED, "cells": REQUIRED}, {"n_jobs": 1, "backend": None, "folder": None}),
    "SensitivityMonitor": ({"model": REQUIRED, "layers": None}, {}),
    "gradient_profile": ({"model": REQUIRED, "inputs": REQUIRED, "targets": REQUIRED, "loss": REQUIRED}, {}),
    "backprop_through_time": (
        {"rnn": REQUIRED, "inputs": REQUIRED, "targets": REQUIRED, "loss": REQUIRED},
        {"window": None},
    ),
    "representations.HiddenNet": (
        {"inputs": REQUIRED, "units": REQUIRED, "classes": REQUIRED},
        {"power": 1.0, "activation": "relu", "replicas": (), "generator": None},
    ),
    "representations.HiddenNet.from_weight": ({"weight": REQUIRED, "classes": REQUIRED}, {"power": 1.0, "activation": "relu"}),
    "representations.HiddenNet.pre": ({"self": REQUIRED, "x": REQUIRED}, {}),
    "representations.HiddenNet.hidden": ({"self": REQUIRED, "x": REQUIRED}, {}),
    "representations.HiddenNet.forward": ({"self": REQUIRED, "x": REQUIRED}, {}),
    "representations.jacobian_map": (
        {"net": REQUIRED, "x": REQUIRED, "u": REQUIRED, "v": REQUIRED},
        {"half": REQUIRED, "n": REQUIRED},
    ),
    "representations.weight_penalty": ({"net": REQUIRED}, {}),
    "representations.jacobian_penalty": ({"net": REQUIRED, "x": REQUIRED}, {"at": "pre", "probes": None}),
    "representations.spectral_penalty": ({"h": REQUIRED}, {"alpha": 1.0, "first": 10, "form": "log"}),
    "representations.sensitivity_penalty": ({"net": REQUIRED, "x": REQUIRED}, {"target": 1.0}),
    "representations.fgsm": (
        {"logits": REQUIRED, "x": REQUIRED, "y": REQUIRED, "epsilon": REQUIRED},
        {"clamp": None},
    ),
    "representations.pgd": (
        {"logits": REQUIRED, "x": REQUIRED, "y": REQUIRED, "epsilon": REQUIRED},
        {"steps": 20, "restarts": 1, "clamp": None, "generator": None},
    ),
    "representations.sign_search": (
        {"logits": REQUIRED, "x": REQUIRED, "y": REQUIRED, "epsilon": REQUIRED},
        {"queries": 300, "clamp": None, "generator": None},
    ),
    "representations.gaussian_noise": (
        {"logits": REQUIRED, "x": REQUIRED, "y": REQUIRED, "epsilon": REQUIRED},
        {"direction": REQUIRED, "clamp": None},
    ),
    "representations.masked_gradients": ({"logits": REQUIRED, "x": REQUIRED, "y": REQUIRED}, {}),
    "representations.critical_perturbation": (
        {"logits": REQUIRED, "x": REQUIRED, "y": REQUIRED, "attack": REQUIRED, "epsilons": REQUIRED},
        {},
    ),
    "representations.critical_norm": (
        {"logits": REQUIRED, "x": REQUIRED, "y": REQUIRED, "attack": REQUIRED, "epsilons": REQUIRED},
        {},
    ),
    "representations.worst_case": (
        {"logits": REQUIRED, "x": REQUIRED, "y": REQUIRED, "attacks": REQUIRED, "epsilon": REQUIRED},
        {},
    ),
    "representations.lp_normalize": ({"x": REQUIRED, "p": 3.0}, {}),
    "representations.natural_patches": (
        {"n": REQUIRED},
        {"size": 16, "centre": True, "generator": None, "labels": False, "stripes": None, "positions": False},
    ),
    "representations.load_images": ({"folder": REQUIRED}, {"name": None, "train": True}),
    "representations.covariance_spectrum": ({"h": REQUIRED}, {}),
    "representations.StreamingCovariance.update": ({"self": REQUIRED, "h": REQUIRED}, {}),
    "representations.StreamingCovariance.merge": ({"self": REQUIRED, "other": REQUIRED}, {}),
    "representations.StreamingCovariance.covariance": ({"self": REQUIRED}, {}),
    "representations.StreamingCovariance.spectrum": ({"self": REQUIRED}, {}),
    "representations.power_law": ({"eigenvalues": REQUIRED, "first": REQUIRED, "last": REQUIRED}, {"floor": None}),
    "representations.participation_ratio": ({"eigenvalues": REQUIRED}, {}),
    "representations.smoothness_bound": ({"d": REQUIRED}, {}),
    "representations.circle_responses": ({"angles": REQUIRED, "units": REQUIRED, "alpha": REQUIRED}, {}),
    "representations.torus_responses": ({"angles": REQUIRED, "units": REQUIRED, "alpha": REQUIRED}, {"d": None}),
    "representations.regauge": ({"net": REQUIRED, "scale": REQUIRED}, {}),
    "representations.KrotovHopfieldLayer": (
        {"inputs": REQUIRED, "units": REQUIRED},
        {"p": 3.0, "rank": 2, "delta": 0.4, "radius": 1.0, "std": 1.0, "replicas": (), "generator": None, "ranking": "drive"},
    ),
    "representations.KrotovHopfieldLayer.forward": ({"self": REQUIRED, "x": REQUIRED}, {}),
    "representations.KrotovHopfieldLayer.effective_weight": ({"self": REQUIRED}, {}),
    "representations.KrotovHopfieldLayer.step": ({"self": REQUIRED, "x": REQUIRED, "lr": REQUIRED}, {}),
    "representations.KrotovHopfieldLayer.norms": ({"self": REQUIRED}, {}),
    "representations.KrotovHopfieldLayer.unconverged": ({"self": REQUIRED, "tol": 1e-2}, {}),
    "representations.KrotovHopfieldLayer.silent": ({"self": REQUIRED, "x": REQUIRED}, {}),
    "representations.KrotovHopfieldLayer.align_signs": ({"self": REQUIRED, "x": REQUIRED}, {}),
    "representations.train_krotov_hopfield": (
        {"layer": REQUIRED, "x": REQUIRED},
        {"updates": REQUIRED, "lr": REQUIRED, "batch": REQUIRED, "progress": False, "generator": None},
    ),
    "weights.effective_rank": ({"weight": REQUIRED}, {"normalized": True}),
    "weights.stable_rank": ({"weight": REQUIRED}, {}),
    "weights.matricize": ({"weight": REQUIRED}, {"transposed": False}),
    "weights.layer_alignment": ({"first": REQUIRED, "second": REQUIRED}, {"k": 10}),
    "weights.singular_vector_agreement": ({"a": REQUIRED, "b": REQUIRED}, {"k": 10}),
    "weights.subspace_overlap": ({"a": REQUIRED, "b": REQUIRED}, {"k": 10}),
    "weights.truncate_svd": ({"weight": REQUIRED}, {"fraction": 0.5, "keep": "top"}),
    "weights.magnitude_masks": ({"weights": REQUIRED, "density": REQUIRED}, {}),
    "weights.random_masks_like": ({"masks": REQUIRED}, {"generator": None}),
    "weights.loss_barrier": ({"loss": REQUIRED, "a": REQUIRED, "b": REQUIRED}, {"steps": 11, "endpoints": True}),
    "weights.SpectralTracker": ({"model": REQUIRED}, {}),
    "weights.SpectralTracker.record": ({"self": REQUIRED, "step": REQUIRED}, {}),
    "weights.SpectralTracker.table": ({"self": REQUIRED}, {}),
}  # fmt: skip


def check(name: str, positional: dict, keywords: dict) -> None:
    found = salnb
    for part in name.split("."):
        found = getattr(found, part)
    parameters = inspect.signature(found).parameters
    usual = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in usual[: len(positional)]] == list(positional)
    assert [p.default for p in usual[: len(positional)]] == list(positional.values())
    for keyword, default in keywords.items():
        assert parameters[keyword].kind is inspect.Parameter.KEYWORD_ONLY and parameters[keyword].default == default
    for extra in parameters.keys() - positional.keys() - keywords.keys():
        assert parameters[extra].default is not REQUIRED, f"{name}: {extra} is new, so it needs a default"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_keep_their_parameters(name):
    check(name, *PUBLIC[name])


# Settings by name: what a keyword takes besides numbers and functions.
NAMED = [("jvp", "finite-difference"), ("qr_every", "auto"), *(("method", name) for name in ("auto", "householder", "cholesky",
                                                                                              "elimination"))]  # fmt: skip


@pytest.mark.parametrize(("keyword", "value"), NAMED)
def test_settings_by_name_are_kept(keyword, value):
    found = salnb.lyapunov_spectrum(lambda x: x / 2, torch.ones(2, dtype=torch.float64), n_steps=2, **{keyword: value})
    assert found.exponents.tolist() == pytest.approx([-math.log(2)] * 2, abs=1e-9)  # differences have ten digits
    assert f'"{value}"' in inspect.getdoc(salnb.lyapunov_spectrum)
    if keyword == "jvp":
        salnb.covariant_vectors(lambda x: x / 2, torch.ones(2), n_steps=2, n_warmup=0, n_after=0, jvp=value)


def test_attributes_and_properties():
    assert isinstance(salnb.SAL.sensitivity, property)
    fields = {"exponents", "stderr", "history", "state", "tangents", "n_steps", "dt"}
    assert fields <= set(salnb.LyapunovSpectrum.__dataclass_fields__)
    assert {"states", "vectors", "local"} <= set(salnb.CovariantVectors.__dataclass_fields__)
    assert {"alpha", "stderr", "r2"} <= set(salnb.representations.PowerLaw.__dataclass_fields__)


def test_all_lists_the_public_names_and_they_have_docstrings():
    tops = {name for name in PUBLIC if "." not in name} | {"LyapunovSpectrum", "CovariantVectors"}
    assert tops <= set(salnb.__all__)
    for name in salnb.__all__:
        assert inspect.getdoc(getattr(salnb, name)), f"{name} has no docstring"
    for name in tops - {"LyapunovSpectrum", "CovariantVectors"}:
        assert ">>>" in inspect.getdoc(getattr(salnb, name)), f"{name} has no example"
