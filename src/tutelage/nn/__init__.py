"""Parts that models are made of. Shapes are written with one legend throughout the package:

    B rows of a batch       C model width            V vocabulary
    T query tokens          H query heads            L layers
    S key tokens            K key-value heads        E experts
    N packed tokens         D width of one head      R rank
                            F feed-forward width

A packed batch has no batch axis: all rows stand one after the other on one axis N, without padding.
Who may look at whom is the business of an `Attend` object (`nn/attend.py`), not of the model.
"""
