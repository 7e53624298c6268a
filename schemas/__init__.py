"""The contract: what a row is, and what its numbers mean.

raw line -> text (`text`) -> words (`words`) -> IDF table (`idf`) -> token ids and weights
(`prepare`, `weights`) -> part (`parts`) -> committed version of a table (`store`); the columns are
in `tables`.
Nothing here imports torch, Beam or Ray: opening a store or serving a student stays light.
"""
