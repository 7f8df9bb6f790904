"""A message built in Python, checked by mypy in strict mode (`make lint`) and run by tests/test_build.py."""

from __future__ import annotations

from datetime import UTC, datetime

from infoexchange import catalogue
from infoexchange.catalogue import build


def seizure() -> catalogue.DrugSeizureReport:
    """Ten lines, with nothing in them that could be left out."""
    return catalogue.DrugSeizureReport(
        handling=build.handling(
            catalogue.OP_STATUS_EXERCISE, catalogue.TLP_AMBER, catalogue.DOMAIN_DRUGS, purpose="joint exercise"
        ),
        seizure_id="EX-1",
        seized_at=build.day(2026, 2, 1),
        place=catalogue.Location(point=build.point(1.25, 104.5)),
        agency="EXERCISE Customs",
        items=[
            catalogue.DrugItem(
                local_id="item-1",
                substance=catalogue.Substance(name="heroin", drug_class=build.code("drug-class", "heroin")),
                quantity=build.quantity("12.50", "drug-unit", "GRAM"),
                lab_confirmed=False,
            )
        ],
        persons=[build.person("p1", catalogue.PERSON_ROLE_SUSPECT, catalogue.MINOR_NO, build.name("Example Person"))],
        estimated_value=build.money("1200.00", "USD"),
    )


def wrong() -> None:
    """What a type checker refuses; without the ignores `make lint` fails, and so it does if they are not needed."""
    build.handling(catalogue.TLP_AMBER, catalogue.TLP_AMBER, catalogue.DOMAIN_DRUGS, purpose="x")  # type: ignore[arg-type]
    build.handling(catalogue.OP_STATUS_TEST, catalogue.TLP_AMBER, catalogue.DOMAIN_DRUGS)  # type: ignore[call-arg]
    build.decimal(12.5)  # type: ignore[arg-type]
    build.person("p1", catalogue.PERSON_ROLE_SUSPECT)  # type: ignore[call-arg]
    build.timestamp("2026-01-31")  # type: ignore[arg-type]
    catalogue.DrugSeizureReport(seizure="x")  # type: ignore[call-arg]


def told() -> catalogue.Instant:
    """A time with its zone."""
    return build.instant(datetime(2026, 2, 1, 8, 0, tzinfo=UTC), catalogue.PRECISION_MINUTE)
