"""What `meshtwin calibrate` says, as plain values: residuals, rows, constants."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...collectives import calibrate as collectives
from . import band
from .case import Residual, residuals
from .family import Collectives, Family
from .place import SHIPPED, Values
from .summary import Summary, by_group
from .table import Line


def family_report(
    family: Family,
    found: Sequence[Residual],
    left_out: Sequence[Residual] | None = None,
    lines: Sequence[Line] | None = None,
) -> dict[str, Any]:
    """The residuals of a family: all of it, each group, and with each group left out.

    Args:
        left_out: None: what is shipped of it, without groups.
        lines: a table of the user's, of which nothing is left out; None: the shipped rows.
    """
    summary = _summary(Summary.of(family.name, found))
    shipped = band.shipped_summaries().get(family.name, {})
    report: dict[str, Any] = {
        **summary,
        "target": family.target,
        "note": family.note,
        "meets": summary["median"] <= family.target and abs(summary["bias"]) <= family.target / 2,
        "excluded": [
            {"reason": reason, "rows": len(rows)} for reason, rows in family.left_out(lines).items()
        ],
        "groups": [_summary(group) for group in by_group(found)],
        "left_out": {} if lines is not None else dict(shipped),
        "left_out_groups": [],
    }
    if left_out is not None:
        every = _summary(Summary.of(family.name, left_out))
        report["left_out"] = {k: every[k] for k in ("rows", "median", "percentile_90", "bias")}
        report["left_out_groups"] = [_summary(group) for group in by_group(left_out)]
    return report


def row_reports(family: str, found: Iterable[Residual]) -> list[dict[str, Any]]:
    """Each row beside its prediction; times in us."""
    return [
        {
            "family": family,
            "group": residual.case.group,
            "row": residual.case.label,
            "stack": residual.case.stack,
            "measured_us": round(residual.case.measured_us, 4),
            "predicted_us": round(residual.predicted_us, 4),
            "error": round(residual.error, 4),
            "note": residual.case.note,
        }
        for residual in found
    ]


def constant_reports(values: Values) -> list[dict[str, Any]]:
    """Fitted constants beside the shipped ones."""
    return [
        {
            "constant": place.table,
            "file": place.file,
            "unit": place.shipped.unit,
            "shipped": place.shipped.value,
            "fitted": value,
        }
        for place, value in values.items()
    ]


def collective_constants() -> list[dict[str, Any]]:
    """The same of the collectives' own search."""
    fitted, shipped = collectives.fit(), collectives.shipped_costs()
    return [
        {
            "constant": f"{arch}.{name}",
            "file": "collectives/data/costs.toml",
            "unit": getattr(shipped[arch], name).unit,
            "shipped": getattr(shipped[arch], name).value,
            "fitted": getattr(fitted[arch], name).value,
        }
        for arch in shipped
        for name in collectives.START
    ]


def fitted(families: Iterable[Family]) -> tuple[Values, dict[str, Values]]:
    """The constants of families fitted one after the other: all, and those of each family."""
    every: Values = SHIPPED
    each = {}
    for family in families:
        if isinstance(family, Collectives):
            continue
        each[family.name] = family.fit(family.cases(), every)
        every = {**every, **each[family.name]}
    return every, each


def judged(
    family: Family, lines: Iterable[Line] | None, values: Values = SHIPPED
) -> list[Residual]:
    """The residuals of a family's rows, or of others, under some constants."""
    return residuals(family.cases(lines), values)


def _summary(summary: Summary) -> dict[str, Any]:
    worst: Mapping[str, Any] = row_reports(summary.name, [summary.worst])[0]
    return {
        "family": summary.name,
        "rows": summary.num_rows,
        "median": round(summary.median, 4),
        "percentile_90": round(summary.percentile_90, 4),
        "bias": round(summary.bias, 4),
        "worst": worst["error"],
        "worst_row": worst["row"],
    }
