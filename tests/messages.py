"""Messages that tests send: invented, marked as exercise, about nobody."""

from infoexchange import catalogue


def handling(**marks: object) -> catalogue.Handling:
    """Return a full block of marks."""
    return catalogue.Handling(
        **{
            "op_status": catalogue.OP_STATUS_EXERCISE,
            "precedence": catalogue.PRECEDENCE_ROUTINE,
            "tlp": catalogue.TLP_AMBER,
            "onward_transfer": catalogue.ONWARD_TRANSFER_CONSENT_REQUIRED,
            "purpose": "joint exercise",
            "domain": catalogue.DOMAIN_PIRACY,
            **marks,
        }
    )


def officer_acknowledgement(**marks: object) -> catalogue.OfficerAcknowledgement:
    """Return the smallest message of the catalogue."""
    return catalogue.OfficerAcknowledgement(handling=handling(**marks), of=bytes(range(32)), level=1)
