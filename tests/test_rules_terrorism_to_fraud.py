"""The rules of the message types on terrorism, arms, money laundering and economic crime: what matters most in each."""

from __future__ import annotations

import pytest

from broken_rules import accepts, refuses
from infoexchange import catalogue
from infoexchange.catalogue import (
    Aircraft,
    Asset,
    CryptoAddress,
    FinancialAccount,
    Firearm,
    FirearmMark,
    Money,
    PartialDate,
    UseConsent,
    codes,
    digits,
    examples,
    marks,
    rules,
)
from infoexchange.errors import RefusedError

VICTIM, MISSING = 4, 9


def clear(*names):
    """Return what takes fields away from a message."""
    return lambda message: [message.ClearField(name) for name in names]


def put(**values):
    """Return what sets fields of a message."""
    return lambda message: [setattr(message, name, value) for name, value in values.items()]


BROKEN = [
    ("PersonNotice", clear("warrant"), "warrant", ""),
    ("PersonNotice", clear("offence"), "offence", "Example Act"),
    ("PersonNotice", clear("penalty"), "penalty", "five years"),
    ("PersonNotice", clear("expires_at"), "expires_at", "2026-01-31"),
    ("PersonNotice", clear("judicial_validation"), "judicial_validation", ""),
    ("PersonNotice", clear("neutrality_check"), "neutrality_check", ""),
    ("PersonNotice", put(notice_type=2), "requested_action", "LOCATE"),
    ("PersonNotice", put(notice_type=4), "person.role", "MISSING"),
    ("PersonNotice", put(notice_type=9), "un_ref", "XXi.001"),
    ("PersonNotice", lambda m: m.expires_at.FromJsonString("2028-01-01T00:00:00Z"), "expires_at", "2026-01-31"),
    ("PersonNotice", lambda m: m.danger_flags.append(6), "danger_text", "dog"),
    ("PersonNotice", lambda m: setattr(m.person, "is_minor", 3), "handling.restrictions", "NO_JUDICIAL_USE"),
    ("PersonNoticeResponse", put(result=8), "refusal", ""),
    ("PersonNoticeResponse", clear("verify_with"), "verify_with", "border@police.example"),
    ("PersonNoticeResponse", clear("notice_ref"), "notice_ref", "32-byte"),
    ("FtfRecord", lambda m: m.handling.ClearField("source_reliability"), "handling.source_reliability", "ADMIRALTY_A"),
    ("FtfRecord", lambda m: m.handling.ClearField("info_credibility"), "handling.info_credibility", "ADMIRALTY_1"),
    ("FtfRecord", clear("basis"), "basis", ""),
    ("SanctionsUpdate", clear("measures"), "measures", "ASSET_FREEZE"),
    ("SanctionsUpdate", clear("organisation"), "listed", "person, organisation"),
    ("SanctionsUpdate", put(un_ref="XXx.001"), "un_ref", "XXe.001"),
    ("SanctionsUpdate", put(un_ref="XXi.001"), "un_ref", "XXe.001"),
    ("SanctionsUpdate", lambda m: m.measures.append(4), "measures_text", ""),
    ("ThreatAlert", lambda m: m.handling.ClearField("pap"), "handling.pap", "AMBER"),
    ("ThreatAlert", lambda m: m.handling.ClearField("likelihood"), "handling.likelihood", "LIKELY"),
    ("ThreatAlert", lambda m: m.window_end.FromJsonString("2026-01-01T00:00:00Z"), "window_end", "2026-01-31"),
    ("ThreatAlert", put(category=10), "category_text", ""),
    ("SuspiciousActivity", clear("activities"), "activities", ""),
    ("SuspiciousActivity", lambda m: setattr(m.activities[0], "value", "SINGING"), "activities[0].value", ""),
    ("SuspiciousActivity", lambda m: setattr(m.activities[0], "system", "own-list"), "activities", ""),
    ("SuspiciousActivity", lambda m: setattr(m.tip_class, "system", "own-list"), "tip_class", ""),
    ("SuspiciousActivity", clear("occurred_at"), "occurred_at", ""),
    ("AnalyticalProduct", clear("findings"), "findings", ""),
    ("AnalyticalProduct", lambda m: setattr(m.findings[0], "confidence", 101), "findings[0].confidence", "70"),
    ("FirearmTraceRequest", lambda m: m.firearm.ClearField("marks"), "firearm.marks", ""),
    ("FirearmTraceRequest", lambda m: setattr(m.firearm.type, "system", "own-list"), "firearm.type", ""),
    ("FirearmTraceRequest", clear("recovery"), "recovery", ""),
    ("FirearmTraceRequest", clear("illicit_basis"), "illicit_basis", "licence"),
    ("FirearmTraceRequest", put(intended_use=5), "intended_use_text", ""),
    ("FirearmTraceRequest", clear("urgency_reason"), "urgency_reason", "custody"),
    ("FirearmTraceResponse", clear("conditions"), "conditions", "only"),
    ("FirearmTraceResponse", clear("transfers"), "transfers", ""),
    ("FirearmTraceResponse", clear("last_holder_ref"), "last_holder_ref", ""),
    ("FirearmTraceResponse", put(last_holder_ref="nobody"), "last_holder_ref", "local_id"),
    ("FirearmTraceResponse", put(result=5), "referred_to_state", "MY"),
    ("FirearmTraceResponse", put(result=4), "reason", "destroyed"),
    ("ArmsSeizureReport", clear("firearms", "items"), "firearms", ""),
    ("ArmsSeizureReport", put(context=8), "context_text", ""),
    ("ArmsSeizureReport", lambda m: m.items[0].ClearField("quantity"), "items[0].quantity", ""),
    ("ArmsSeizureReport", lambda m: (put(kind=6)(m.items[0]), clear("description")(m.items[0])),
     "items[0].description", "cartridges"),
    ("LostStolenWeapon", clear("standing"), "standing", "RECOVERED"),
    ("LostStolenWeapon", put(owner_category=8), "owner_text", ""),
    ("AmmunitionLot", clear("headstamp"), "headstamp", "EXA 26"),
    ("DiversionAlert", clear("grounds"), "grounds", "certificate"),
    ("DiversionAlert", put(diversion_point=6), "diversion_text", ""),
    ("FiuRequest", clear("questions"), "questions", ""),
    ("FiuRequest", lambda m: m.questions.add(local_id="q", kind=9), "questions[2].text", "accounts"),
    ("FiuRequest", lambda m: m.handling.ClearField("foreseen_use"), "handling.foreseen_use", "intelligence only"),
    ("FiuRequest", clear("urgency_reason"), "urgency_reason", "two days"),
    ("FiuRequest", clear("onward_use"), "onward_use", "INTELLIGENCE_ONLY"),
    ("FiuRequest", lambda m: m.subject_refs.append("nobody"), "subject_refs[2]", "local_id"),
    ("FiuResponse", clear("consent"), "consent", ""),
    ("FiuResponse", clear("is_final"), "is_final", "true"),
    ("FiuResponse", lambda m: m.results[1].ClearField("refusal"), "results[1].refusal", ""),
    ("FiuResponse", lambda m: m.results[0].ClearField("text"), "results[0].text", ""),
    ("FiuResponse", lambda m: m.consent.ClearField("named_agencies"), "consent.named_agencies", "Police"),
    ("FiuSpontaneousDisclosure", clear("why_relevant"), "why_relevant", "owner"),
    ("FiuSpontaneousDisclosure", lambda m: m.consent.named_agencies.append("x"), "consent.named_agencies", "Police"),
    ("TransactionSet", lambda m: m.transactions[0].ClearField("to_ref"), "transactions[0].from_ref", "account-1"),
    ("TransactionSet", lambda m: put(from_ref="account-1")(m.transactions[1]), "transactions[1].from_ref", "account-1"),
    ("TransactionSet", lambda m: setattr(m.transactions[0].amount_local, "currency", "QQQ"),
     "transactions[0].amount_local.currency", "USD"),
    ("TransactionSet", lambda m: setattr(m.accounts[1], "iban", "XX25EXAMPLE0000000001"), "accounts[1].iban", "GB82"),
    ("PostponementRequest", lambda m: m.handling.ClearField("legal_basis"), "handling.legal_basis", ""),
    ("PostponementRequest", put(target_ref="nobody"), "target_ref", "local_id"),
    ("PostponementReply", clear("until"), "until", "2026-01-31"),
    ("PostponementReply", put(outcome=2), "reason", "law"),
    ("TypologyNote", clear("red_flags"), "red_flags", ""),
    ("StopPaymentRequest", clear("transfers", "crypto_transfers"), "transfers", ""),
    ("StopPaymentRequest", clear("bank_recall"), "bank_recall", "NOT_SENT"),
    ("StopPaymentRequest", put(bank_recall=2), "bank_recall_ref", "CXL-0001"),
    ("StopPaymentRequest", put(scheme=10), "scheme_text", ""),
    ("StopPaymentRequest", lambda m: setattr(m.wallets[0].chain, "system", "own-list"), "wallets[0].chain", ""),
    ("StopPaymentRequest", lambda m: setattr(m.cancellation_reason, "value", "WHY"), "cancellation_reason.value", ""),
    ("StopPaymentRequest", clear("requested"), "requested", "HOLD"),
    ("StopPaymentRequest", lambda m: m.persons.add(local_id="v", role=VICTIM, is_minor=2).names.add(full="A"),
     "persons[0].names", "SealedIdentity"),
    ("StopPaymentRequest", lambda m: clear("uetr", "end_to_end_id", "transaction_id")(m.transfers[0]),
     "transfers[0].uetr", "-4000-"),
    ("StopPaymentRequest", lambda m: setattr(m.transfers[0], "uetr", "00000000-0000-1000-8000-000000000001"),
     "transfers[0].uetr", "-4000-"),
    ("StopPaymentRequest", lambda m: setattr(m.accounts[0], "bic", "EXMP2X21"), "accounts[0].bic", "EXMPXX21"),
    ("StopPaymentStatus", clear("amount_held"), "amount_held", ""),
    ("StopPaymentStatus", clear("held_until"), "held_until", "2026-01-31"),
    ("StopPaymentStatus", put(state=8), "refusal", ""),
    ("StopPaymentStatus", lambda m: (put(state=5)(m), clear("moved_to_refs")(m)), "moved_to_refs", "account-1"),
    ("AssetTraceRequest", clear("class_text"), "class_text", "racehorse"),
    ("AssetTraceRequest", clear("asset_classes"), "asset_classes", "ACCOUNT"),
    ("AssetTraceReply", clear("assets"), "assets", ""),
    ("AssetTraceReply", put(result=3), "assets", ""),
    ("AssetRecord", clear("source"), "source", "land register"),
    ("AssetRecord", lambda m: m.asset.owner_refs.append("nobody"), "asset.owner_refs[1]", "local_id"),
    ("RestraintNotice", clear("order"), "order", ""),
    ("MlaRequest", put(state=7), "state", "SENT"),
    ("MlaRequest", clear("confidentiality_reason"), "confidentiality_reason", "money"),
    ("MlaRequest", clear("time_limit_reason"), "time_limit_reason", "trial"),
    ("MlaStatus", put(state=2), "state", "IN_EXECUTION"),
    ("MlaStatus", clear("clarification_needed"), "clarification_needed", "number"),
    ("FraudAlert", put(scheme=10), "scheme_text", "lottery"),
    ("FraudAlert", lambda m: m.persons.add(local_id="v", role=VICTIM, is_minor=2, pseudonym="A"), "persons", ""),
    ("FraudAlert", lambda m: m.last_seen.FromJsonString("2025-01-01T00:00:00Z"), "last_seen", "2026-01-31"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "field", "hint"), BROKEN, ids=[f"{row[0]}-{row[2]}" for row in BROKEN])
def test_a_broken_rule_names_the_field_and_what_is_right(name, spoil, field, hint):
    refuses(name, spoil, field, hint)


def test_every_type_has_a_rule_here():
    modules = ("terrorism", "arms", "finance", "economic")
    files = {f"infoexchange/catalogue/v1/{module}.proto" for module in modules}
    ours = {cls.DESCRIPTOR.name for cls in catalogue.schemas().values() if cls.DESCRIPTOR.file.name in files}
    assert {row[0] for row in BROKEN} == ours
    assert len(ours) == 29


def test_every_message_stays_in_its_domain():
    for name in sorted({row[0] for row in BROKEN}):
        message = examples.message(name)
        assert rules.violations(message) == []
        catalogue.handling_of(message).domain = catalogue.DOMAIN_PIRACY
        assert "handling.domain" in {found.field for found in rules.violations(message)}


def test_a_missing_person_is_sought_without_a_warrant():
    def change(message):
        message.notice_type, message.person.role, message.requested_action = 4, MISSING, 2
        clear("warrant", "offence", "penalty")(message)

    accepts("PersonNotice", change)


# Building blocks


def of(record):
    """Return the fields of a record that break a rule."""
    return [found.field for found in rules.violations(record)]


def test_a_firearm_and_its_serial_number():
    weapon = Firearm(local_id="f", type={"system": "firearm-type", "version": "2026-11", "value": "PISTOL"})
    assert of(weapon) == []
    for status, serial, right in [(1, "1", True), (1, "", False), (2, "", True), (2, "1", False), (4, "1", False),
                                  (3, "1", True), (5, "1", True), (6, "", False)]:  # fmt: skip
        weapon.serial_status, weapon.serial = status, serial
        assert of(weapon) == ([] if right else ["serial"])
    assert of(FirearmMark(position="left")) == ["text"]
    assert of(FirearmMark(photo_id="p")) == []


def test_an_account_needs_a_number_and_a_bank():
    assert of(FinancialAccount(local_id="a", iban="GB82WEST12345698765432")) == []
    assert of(FinancialAccount(local_id="a", account_no="1", bic="EXMPXX21XXX")) == []
    assert of(FinancialAccount(local_id="a", account_no="1")) == ["iban"]
    assert of(FinancialAccount(local_id="a", iban="GB82 WEST 1234 5698 7654 32")) == ["iban"]
    assert of(FinancialAccount(local_id="a", account_no="1", bic="EXMPXX2")) == ["bic"]


def test_the_check_digits_of_an_account_number():
    specimen = "GB82WEST12345698765432"
    assert digits.is_iban(specimen)
    for place in (2, 3, *range(8, 22)):
        wrong = specimen[:place] + str((int(specimen[place]) + 1) % 10) + specimen[place + 1 :]
        assert not digits.is_iban(wrong)
        assert of(FinancialAccount(local_id="a", iban=wrong)) == ["iban"]
    # 98 is a check digit that is issued; 01 gives the same remainder and is not.
    body = next(str(n) for n in range(10**10, 10**10 + 97) if digits.is_iban(f"XX98{n}"))
    assert not digits.is_iban(f"XX01{body}")


def test_currencies():
    listed = codes.load("iso-4217").rows
    users = ",".join(sorted({row["used_in"] for row in listed.values()} - {""}))
    assert users == "BN,CN,ID,KH,LA,MM,MY,PH,SG,TH,TL,VN"
    numbers = {row["value"]: row["number"] for row in listed.values() if row["used_in"]}
    assert (numbers["KHR"], numbers["IDR"], numbers["CNY"], numbers["USD"]) == ("116", "360", "156", "840")
    assert all(len(row["number"]) == 3 and row["decimals"] in "0234" for row in listed.values())
    assert of(Money(amount={"unscaled": 1}, currency="LAK")) == []
    assert of(Money(amount={"unscaled": 1}, currency="usd")) == ["currency"]
    assert of(Money(amount={"unscaled": 1}, currency="QQQ")) == ["currency"]


def test_a_currency_of_a_newer_list_is_received_but_not_sent():
    message = examples.message("PostponementReply")
    message.amount_held.currency = "QQQ"
    rules.check_received(message)
    with pytest.raises(RefusedError):
        rules.check(message)


def test_other_building_blocks():
    chain = {"system": "crypto-chain", "version": "2026-11", "value": "BITCOIN"}
    assert of(CryptoAddress(local_id="w", chain=chain, address="EXAMPLE1")) == []
    assert of(CryptoAddress(local_id="w", chain=chain, address="two words")) == ["address"]
    seen = {"first_seen": {"seconds": 2}, "last_seen": {"seconds": 1}}
    assert of(CryptoAddress(local_id="w", chain=chain, address="E", **seen)) == ["last_seen"]
    assert of(Aircraft(local_id="a", type="helicopter")) == ["registration"]
    assert of(Aircraft(local_id="a", icao24="00000G")) == ["icao24"]
    assert of(Aircraft(local_id="a", serial_number="1")) == []
    assert of(Asset(local_id="a", asset_class=11, description="EXERCISE")) == ["class_text"]
    assert of(UseConsent(level=3)) == ["conditions"]


def test_lists_hold_the_values_that_the_examples_use():
    assert len(codes.load("firearm-type").rows) == 19
    assert len(codes.load("niem-suspicious-activity").rows) == 16
    assert len(codes.load("niem-target-sector").rows) == 34
    assert len(codes.load("niem-tip-class").rows) == 18
    assert len(codes.load("goaml-report-type").rows) == 17
    assert codes.load("iso20022-cancellation-reason").find("FRAD")


def test_an_absurd_scale_is_shown_without_being_written_out():
    made = Money(amount={"unscaled": 5, "scale": 2_000_000_000}, currency="USD")
    assert marks.describe(made)[0].value == "5E-2000000000"
    assert of(made) == ["amount.scale"]


def test_a_choice_that_nobody_made_names_the_choices():
    (found,) = rules.violations(catalogue.Location(method=1))
    assert found.field == "place"
    assert found.next_step.startswith("Set one of point, geometry, un_locode")


def test_dates_of_losses_may_be_unknown():
    accepts("LostStolenWeapon", lambda message: message.happened_on.CopyFrom(PartialDate(kind=4)))


# The specimens of ICAO 9303, parts 4 to 7: nobody of this name exists.
ZONES = {
    "TD1": ("I<UTOD231458907<<<<<<<<<<<<<<<", "7408122F1204159UTO<<<<<<<<<<<6", "ERIKSSON<<ANNA<MARIA<<<<<<<<<<"),
    "TD2": ("I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<", "D231458907UTO7408122F1204159<<<<<<<6"),
    "TD3": ("P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"),
    "MRV-A": ("V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L8988901C4XXX4009078F96121096ZE184226B<<<<<<"),
    "MRV-B": ("V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<", "L8988901C4XXX4009078F9612109<<<<<<<<"),
}


@pytest.mark.parametrize("name", ZONES)
def test_every_kind_of_machine_readable_zone(name):
    lines = list(ZONES[name])
    assert digits.is_machine_readable_zone(lines)
    # The second sign of number, birth and expiry, and the check digit of each.
    card = [(0, 6), (0, 14), (1, 1), (1, 6), (1, 9), (1, 14)]
    for line, place in card if name == "TD1" else [(1, place) for place in (1, 9, 14, 19, 22, 27)]:
        spoilt = list(lines)
        spoilt[line] = lines[line][:place] + str((int(lines[line][place]) + 1) % 10) + lines[line][place + 1 :]
        assert not digits.is_machine_readable_zone(spoilt), (line, place)


def test_the_digit_over_the_whole_zone_and_numbers_that_go_on():
    passport = list(ZONES["TD3"])
    passport[1] = passport[1][:42] + "2" + digits.icao_digit("L898902C36" + "7408122" + "1204159ZE184226B<<<<<2")
    assert not digits.is_machine_readable_zone(passport)
    for name in ("TD1", "TD2", "TD3"):
        lines = list(ZONES[name])
        lines[1] = lines[1][:-1] + str((int(lines[1][-1]) + 1) % 10)
        assert not digits.is_machine_readable_zone(lines)
    number = "D23145890<" + "7341" + "<" * 11
    low = "7408122F1204159UTO" + "<" * 11
    low += digits.icao_digit(number + low[:7] + low[8:15] + low[18:29])
    assert digits.is_machine_readable_zone(["I<UTO" + number, low, "<" * 30])
    assert digits.is_machine_readable_zone(["another zone"])
