"""River's optimisers as kernels: one step for the features of an event, chosen by a setting.

A feature that is absent keeps its weight and whatever the optimiser remembers of it. Where River
raises in the middle of a step, the features before it have been changed and those behind have not.
"""

import math
from typing import Any

from river import optim

from models.compiled._python import overflowed
from models.compiled._roots import root, roots
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import inlined, lean
from streamgauge.state import Field

__all__ = ["SIZE", "fields_of", "look_ahead", "rate", "refusal", "settings_of", "step"]

# Columns of the settings: learning rate (three of a scheduler), which optimiser, its numbers.
RATE, KIND, RHO, BETA_1, BETA_2, EPS, GAMMA, BASE, L1, L2, HALF, TWO, MINUS, SIZE = (
    0, *range(3, 16)
)  # fmt: skip
SGD, MOMENTUM, NESTEROV, ADAM, ADA_GRAD, ADA_DELTA, ADA_MAX = range(7)
AMS_GRAD, ADA_BOUND, NADAM, RMS_PROP, FTRL, AMS_GRAD_PLAIN, ADAM_PLAIN, RMS_PROP_PLAIN = range(
    7, 15
)
CONSTANT, INVERSE, OPTIMAL = range(3)

KINDS = {
    optim.SGD: (SGD, ()),
    optim.Momentum: (MOMENTUM, ("s",)),
    optim.NesterovMomentum: (NESTEROV, ("s",)),
    optim.Adam: (ADAM, ("m", "v")),
    optim.AdaGrad: (ADA_GRAD, ("g2",)),
    optim.AdaDelta: (ADA_DELTA, ("g2", "s2")),
    optim.AdaMax: (ADA_MAX, ("m", "u")),
    optim.AMSGrad: (AMS_GRAD, ("m", "v", "v_hat")),
    optim.AdaBound: (ADA_BOUND, ("m", "v")),
    optim.Nadam: (NADAM, ("m", "v")),
    optim.RMSProp: (RMS_PROP, ("g2",)),
    optim.FTRLProximal: (FTRL, ("z", "n")),
}
"""What each remembers of a feature."""


@inlined
def rate(scheduler: Floats, t: float) -> float:
    """A scheduler's rate after t steps; `scheduler` = [kind, first number, second number]."""
    if scheduler[0] == CONSTANT:
        return float(scheduler[1])
    if scheduler[0] == INVERSE:
        return float(scheduler[1] / (t + 1.0) ** scheduler[2])
    return float(1.0 / (scheduler[1] * (scheduler[2] + t)))


@lean
def look_ahead(o: Floats, memory: Floats, w: Floats, at: Ints, m: int) -> None:
    """What Nesterov's momentum does before the gradient is known."""
    if o[KIND] == NESTEROV:
        for k in range(m):
            j = at[k]
            w[j] -= o[RHO] * memory[j]


@inlined
def _descend(w: Floats, g: Floats, at: Ints, m: int, lr: float) -> None:
    if m == len(g):
        for j in range(m):
            w[j] -= lr * g[j]
    else:
        for k in range(m):
            w[at[k]] -= lr * g[at[k]]


@lean
def _momentum(o: Floats, s: Floats, w: Floats, g: Floats, at: Ints, m: int, lr: float) -> None:
    if o[KIND] == NESTEROV:
        for k in range(m):
            j = at[k]
            w[j] += o[RHO] * s[j]
    for k in range(m):
        j = at[k]
        s[j] = o[RHO] * s[j] + lr * g[j]
        w[j] -= s[j]


@lean
def _square(o: Floats, value: float) -> tuple[float, bool]:
    """value ** 2; whether River raises. On its vectors (the `PLAIN` kinds are for dicts) Adam and
    RMSProp multiply instead, and nothing is raised."""
    if o[KIND] == ADAM or o[KIND] == RMS_PROP:
        return value * value, False
    square = value ** o[TWO]
    return square, overflowed(value, square)


@inlined
def _adam(o: Floats, a: Floats, w: Floats, g: Floats, at: Ints, m: int, lr: float) -> bool:
    f, one, two, eps = len(w), o[BETA_1], o[BETA_2], o[EPS]
    if m == f and o[KIND] == ADAM:
        _adam_of_all(o, a, w, g, lr)
        return True
    for k in range(m):
        j = at[k]
        a[j] = one * a[j] + (1.0 - one) * g[j]
        square, too_large = _square(o, g[j])
        if too_large:
            return False
        a[f + j] = two * a[f + j] + (1.0 - two) * square
        w[j] -= lr * a[j] / (root(a[f + j], o[HALF]) + eps)
    return True


@inlined
def _adam_of_all(o: Floats, a: Floats, w: Floats, g: Floats, lr: float) -> None:
    """Where no feature is absent: whole vectors. The gradient is needed no more, and gives room."""
    f, one, two, eps = len(w), o[BETA_1], o[BETA_2], o[EPS]
    first, second = a[:f], a[f : 2 * f]
    for j in range(f):
        first[j] = one * first[j] + (1.0 - one) * g[j]
        second[j] = two * second[j] + (1.0 - two) * (g[j] * g[j])
    roots(second, o[HALF], g)
    for j in range(f):
        w[j] -= lr * first[j] / (g[j] + eps)


@lean
def _rms_prop(o: Floats, g2: Floats, w: Floats, g: Floats, at: Ints, m: int, lr: float) -> bool:
    for k in range(m):
        j = at[k]
        square, too_large = _square(o, g[j])
        if too_large:
            return False
        g2[j] = o[RHO] * g2[j] + (1.0 - o[RHO]) * square
        w[j] -= lr / root(g2[j] + o[EPS], o[HALF]) * g[j]
    return True


@lean
def _ada_grad(o: Floats, g2: Floats, w: Floats, g: Floats, at: Ints, m: int, lr: float) -> bool:
    for k in range(m):
        j = at[k]
        square, too_large = _square(o, g[j])
        if too_large:
            return False
        g2[j] += square
        w[j] -= lr / root(g2[j] + o[EPS], o[HALF]) * g[j]
    return True


@lean
def _ada_delta(o: Floats, a: Floats, w: Floats, g: Floats, at: Ints, m: int) -> bool:
    f, rho, eps, half = len(w), o[RHO], o[EPS], o[HALF]
    for k in range(m):
        j = at[k]
        square, too_large = _square(o, g[j])
        if too_large:
            return False
        a[j] = rho * a[j] + (1.0 - rho) * square
        move = -root(a[f + j] + eps, half) / root(a[j] + eps, half) * g[j]
        square, too_large = _square(o, move)
        if too_large:
            return False
        a[f + j] = rho * a[f + j] + (1.0 - rho) * square
        w[j] += move
    return True


@lean
def _ada_max(o: Floats, a: Floats, w: Floats, g: Floats, at: Ints, m: int, lr: float) -> None:
    f, one = len(w), o[BETA_1]
    for k in range(m):
        j = at[k]
        a[j] = one * a[j] + (1.0 - one) * g[j]
        least, size = o[BETA_2] * a[f + j], abs(g[j])
        a[f + j] = size if size > least else least
        w[j] -= lr * a[j] / (a[f + j] + o[EPS])


@lean
def _ams_grad(o: Floats, a: Floats, w: Floats, g: Floats, at: Ints, m: int, lr: float) -> bool:
    f, one, two = len(w), o[BETA_1], o[BETA_2]
    for k in range(m):
        j = at[k]
        a[j] = one * a[j] + (1.0 - one) * g[j]
        square, too_large = _square(o, g[j])
        if too_large:
            return False
        v = two * a[f + j] + (1.0 - two) * square
        a[f + j] = v
        a[2 * f + j] = max(a[2 * f + j], v)
        w[j] -= lr * a[j] / (root(a[2 * f + j], o[HALF]) + o[EPS])
    return True


@lean
def _ada_bound(
    o: Floats, a: Floats, w: Floats, g: Floats, at: Ints, m: int, lr: float, t: float
) -> bool:
    f, one, two = len(w), o[BETA_1], o[BETA_2]
    size = lr * math.sqrt(1.0 - two ** (t + 1.0)) / (1.0 - one ** (t + 1.0))
    a[2 * f] *= lr / o[BASE]
    low = a[2 * f] * (1.0 - 1.0 / (o[GAMMA] * (t + 1.0) + 1.0))
    high = a[2 * f] * (1.0 + 1.0 / (o[GAMMA] * (t + 1.0)))
    for k in range(m):
        j = at[k]
        a[j] = one * a[j] + (1.0 - one) * g[j]
        square, too_large = _square(o, g[j])
        if too_large:
            return False
        a[f + j] = two * a[f + j] + (1.0 - two) * square
        bound = size / (math.sqrt(a[f + j]) + o[EPS])
        bound = high if high < bound else bound
        w[j] -= (low if low > bound else bound) * a[j]
    return True


@lean
def _nadam(
    o: Floats, a: Floats, w: Floats, g: Floats, at: Ints, m: int, lr: float, t: float
) -> bool:
    f, one, two = len(w), o[BETA_1], o[BETA_2]
    first, second = 1.0 - one ** (t + 1.0), 1.0 - two ** (t + 1.0)
    for k in range(m):
        j = at[k]
        a[j] = one * a[j] + (1.0 - one) * g[j]
        square, too_large = _square(o, g[j])
        if too_large:
            return False
        a[f + j] = two * a[f + j] + (1.0 - two) * square
        ahead = one * (a[j] / first) + (1.0 - one) * g[j] / first
        w[j] -= lr * ahead / (root(a[f + j] / second, o[HALF]) + o[EPS])
    return True


@lean
def _ftrl(o: Floats, a: Floats, w: Floats, g: Floats, at: Ints, m: int) -> bool:
    f, alpha, l1, half = len(w), o[RHO], o[L1], o[HALF]
    for k in range(m):
        j = at[k]
        z = a[j]
        if abs(z) > l1:
            sign = 1.0 if z > 0.0 else -1.0
            base = (o[BASE] + root(a[f + j], half)) / alpha + o[L2]
            power = base ** o[MINUS]
            if math.isinf(power):
                return False
            w[j] = -power * (z - sign * l1)
    for k in range(m):
        j = at[k]
        n = a[f + j]
        square, too_large = _square(o, g[j])
        if too_large:
            return False
        s = (root(n + square, half) - root(n, half)) / alpha
        a[j] += g[j] - s * w[j]
        a[f + j] += square
    return True


@inlined
def _corrected(o: Floats, kind: int, lr: float, t: float) -> float:
    """The rate, corrected for averages that begin at zero."""
    if kind in (ADAM, ADAM_PLAIN, AMS_GRAD):
        lr *= (1.0 - o[BETA_2] ** (t + 1.0)) ** o[HALF]
    if kind in (ADAM, ADAM_PLAIN, AMS_GRAD, ADA_MAX):
        lr /= 1.0 - o[BETA_1] ** (t + 1.0)
    return lr


@lean
def step(o: Floats, a: Floats, w: Floats, g: Floats, at: Ints, m: int, t: float) -> bool:
    """Move the weights of the features at[:m] by the gradient g, after t steps; False where River
    raises, for a number too large.

    `w` and `g float64[f]`; `a` is what the optimiser remembers, one array of f after the other.
    """
    kind, lr = int(o[KIND]), rate(o[RATE:], t)
    if kind == SGD:
        _descend(w, g, at, m, lr)
        return True
    lr = _corrected(o, kind, lr, t)
    if kind in (MOMENTUM, NESTEROV):
        _momentum(o, a, w, g, at, m, lr)
    elif kind == ADA_MAX:
        _ada_max(o, a, w, g, at, m, lr)
    elif kind in (ADAM, ADAM_PLAIN):
        return _adam(o, a, w, g, at, m, lr)
    elif kind in (RMS_PROP, RMS_PROP_PLAIN):
        return _rms_prop(o, a, w, g, at, m, lr)
    elif kind == ADA_GRAD:
        return _ada_grad(o, a, w, g, at, m, lr)
    elif kind == ADA_DELTA:
        return _ada_delta(o, a, w, g, at, m)
    elif kind in (AMS_GRAD, AMS_GRAD_PLAIN):
        return _ams_grad(o, a, w, g, at, m, lr)
    elif kind == ADA_BOUND:
        return _ada_bound(o, a, w, g, at, m, lr, t)
    elif kind == NADAM:
        return _nadam(o, a, w, g, at, m, lr, t)
    else:
        return _ftrl(o, a, w, g, at, m)
    return True


def scheduler_refusal(scheduler: Any) -> str:
    """Why this scheduler has no compiled equivalent; empty if it has one."""
    known = (optim.schedulers.Constant, optim.schedulers.InverseScaling, optim.schedulers.Optimal)
    return "" if type(scheduler) in known else f"a {type(scheduler).__name__} learning rate"


def scheduler_settings(scheduler: Any) -> list[float]:
    """[kind, first number, second number] of a scheduler."""
    if type(scheduler) is optim.schedulers.Constant:
        return [CONSTANT, scheduler.learning_rate, 0.0]
    if type(scheduler) is optim.schedulers.InverseScaling:
        return [INVERSE, scheduler.learning_rate, scheduler.power]
    return [OPTIMAL, scheduler.alpha, scheduler.t0]


def refusal(optimizer: Any) -> str:
    """Why this optimiser has no compiled equivalent; empty if it has one."""
    if type(optimizer) not in KINDS:
        return f"optimizer {type(optimizer).__name__}"
    if optimizer.n_iterations or any(
        getattr(optimizer, k, None) for k in KINDS[type(optimizer)][1]
    ):
        return "an optimizer that has learned already"
    betas = (getattr(optimizer, name, 0.0) for name in ("beta_1", "beta_2"))
    if not all(0.0 <= beta < 1.0 for beta in betas):
        return "an optimizer whose betas are not in [0, 1)"
    if not all(getattr(optimizer, name, 1.0) > 0.0 for name in ("eps", "gamma", "alpha")):
        return "an optimizer without eps, gamma or alpha above 0"
    if getattr(optimizer, "base_lr", 1.0) == 0.0:
        return "AdaBound with a learning rate of 0"
    return "" if type(optimizer) is optim.FTRLProximal else scheduler_refusal(optimizer.lr)


def fields_of(optimizer: Any, f: int) -> list[Field]:
    """What the optimiser remembers in a model's row."""
    fields = [Field(f"optimizer_{name}", (f,)) for name in KINDS[type(optimizer)][1]]
    if type(optimizer) is optim.AdaBound:
        fields.append(Field("optimizer_final_lr", (), float(optimizer.final_lr)))
    return fields


def settings_of(optimizer: Any, *, plain: bool = False) -> list[float]:
    """Settings of an optimiser without a refusal; `plain` where the weights are in a dict."""
    kind = KINDS[type(optimizer)][0]
    if plain:
        kind = {ADAM: ADAM_PLAIN, RMS_PROP: RMS_PROP_PLAIN}.get(kind, kind)
    if kind == AMS_GRAD and not optimizer.correct_bias:
        kind = AMS_GRAD_PLAIN
    ftrl = kind == FTRL
    numbers = {
        "rho": optimizer.alpha if ftrl else getattr(optimizer, "rho", 0.0),
        **{name: getattr(optimizer, name, 0.0) for name in ("beta_1", "beta_2", "eps", "gamma")},
        "base": optimizer.beta if ftrl else getattr(optimizer, "base_lr", 1.0),
        **{name: getattr(optimizer, name, 0.0) for name in ("l1", "l2")},
    }
    lr = [CONSTANT, 0.0, 0.0] if ftrl else scheduler_settings(optimizer.lr)
    return [*lr, kind, *numbers.values(), 0.5, 2.0, -1.0]
