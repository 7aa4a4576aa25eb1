"""The members' stake in what they made: shares by guild, patronage by accepted work, payouts, and data licences to outsiders."""
