"""The links of a verification, by what they are about; `model_card.verify` puts them in order."""
