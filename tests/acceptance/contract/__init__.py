"""The wire contract, row by row, and the tests that hold the server to it.

`words.py`, `words_rest.py`: what the contract says, in its own words. `frames.py`, `calls.py`: every frame, step and
call, those beyond the contract too. `code.py`: which of them the code knows. `document.py`: docs/contract.md.
"""
