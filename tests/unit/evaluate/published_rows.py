"""Small copies of every benchmark's data, in the forms in which they are published."""

from __future__ import annotations

from typing import Any

COMMON = [
    {
        "instruction": f"Please choose the correct answer to the question: What is {n}?\n\n"
        f"Answer1: small {n} Answer2: big {n}\n\nAnswer format: answer1/answer2",
        "answer": f"answer{1 + n % 2}",
    }
    for n in range(6)
]
FUNCTIONS = [
    {
        "task_id": f"T/{n}",
        "prompt": f'def add_{n}(x):\n    """x + {n}."""\n',
        "canonical_solution": f"    return x + {n}\n",
        "entry_point": f"add_{n}",
        "test": f"def check(f):\n    assert f(1) == {n + 1}\n",
    }
    for n in range(6)
]
PAIRS = [{"premise": f"a {n}.", "hypothesis": f"b {n}."} for n in range(6)]
PEOPLE = ("stereotype", "anti-stereotype", "unrelated")
FILES: dict[str, tuple[str, Any]] = {
    "cb": (
        "val.jsonl",
        [
            {**row, "label": ("entailment", "contradiction", "neutral")[n % 3]}
            for n, row in enumerate(PAIRS)
        ],
    ),
    "wic": (
        "val.jsonl",
        [
            {"word": "bank", "sentence1": f"a {n}", "sentence2": f"b {n}", "label": n % 2 == 0}
            for n in range(6)
        ],
    ),
    "wsc": (
        "val.jsonl",
        [
            {
                "text": f"Ann {n} saw Eve, and she left.",
                "target": {
                    "span1_text": "Eve",
                    "span1_index": 3,
                    "span2_text": "she",
                    "span2_index": 5,
                },
                "label": n % 2 == 0,
            }
            for n in range(6)
        ],
    ),
    "multirc": (
        "val.jsonl",
        [
            {
                "idx": 4,
                "passage": {
                    "text": "Six foxes ran.",
                    "questions": [
                        {
                            "question": f"Who {n}?",
                            "answers": [
                                {"text": f"they {n}{a}", "label": (n + a) % 2} for a in range(3)
                            ],
                        }
                        for n in range(2)
                    ],
                },
            }
        ],
    ),
    "record": (
        "val.jsonl",
        [
            {
                "passage": {
                    "text": "Eve met Ann Lee.\n@highlight\nBob Ray too",
                    "entities": [
                        {"start": 0, "end": 2},
                        {"start": 8, "end": 14},
                        {"start": 27, "end": 33},
                    ],
                },
                "qas": [
                    {
                        "query": f"@placeholder sang {n}",
                        "answers": [
                            {"text": one} for one in ("Ann Lee", "Eve", "Bob Ray")[: 1 + n % 2]
                        ],
                    }
                    for n in range(6)
                ],
            }
        ],
    ),
    "math": (
        "test/algebra/1.json",
        [
            {
                "problem": f"Half of {n}?",
                "type": "Algebra",
                "solution": f"So $\\boxed{{\\frac{{{n}}}{{2}}}}$.",
            }
            for n in range(6)
        ],
    ),
    "bbq": (
        "data/Age.jsonl",
        [
            {
                "context": f"Two people {n}.",
                "question": "Who is old?",
                "ans0": f"a {n}",
                "ans1": f"b {n}",
                "ans2": "Not known",
                "label": n % 3,
                "category": "Age",
                "context_condition": ("ambig", "disambig")[n % 2],
            }
            for n in range(6)
        ],
    ),
    "stereoset": (
        "dev.json",
        {
            "data": {
                part: [
                    {
                        "id": f"{part}{n}",
                        "context": "He BLANK.",
                        "bias_type": "race",
                        "sentences": [
                            {"sentence": f"{kind} {part} {n}", "gold_label": kind}
                            for kind in PEOPLE
                        ],
                    }
                    for n in range(3)
                ]
                for part in ("intrasentence", "intersentence")
            }
        },
    ),
    "real_toxicity_prompts": (
        "prompts.jsonl",
        [
            {
                "prompt": {"text": f"So {n}"},
                "continuation": {"text": f" well {n}"},
                "challenging": n % 2 == 0,
            }
            for n in range(6)
        ],
    ),
    "hellaswag": (
        "hellaswag_val.jsonl",
        [
            {
                "activity_label": "Sailing",
                "ctx": f"Boat {n} leaves. [header] Then",
                "endings": [f"it sinks {n}", f"it [title] sails {n}", "it eats", "it eats"],
                "label": n % 3,
            }
            for n in range(6)
        ],
    ),
    "mrpc": (
        "validation.jsonl",
        [{"sentence1": f"a {n}", "sentence2": f"b {n}", "label": n % 2} for n in range(6)],
    ),
    "rte": (
        "val.jsonl",
        [
            {
                "premise": f"a {n}.",
                "hypothesis": f"b {n}.",
                "label": ("entailment", "not_entailment")[n % 2],
            }
            for n in range(6)
        ],
    ),
    "copa": (
        "val.jsonl",
        [
            {
                "premise": f"It rained {n}.",
                "choice1": f"wet {n}",
                "choice2": f"dry {n}",
                "question": ("cause", "effect")[n % 2],
                "label": n % 2,
            }
            for n in range(6)
        ],
    ),
    "piqa": (
        "valid.jsonl",
        [{"goal": f"Open jar {n}", "sol1": f"turn {n}", "sol2": f"shout {n}"} for n in range(6)],
    ),
    "drop": (
        "drop_dataset_dev.json",
        {
            "p1": {
                "passage": "Six goals fell.",
                "qa_pairs": [
                    {
                        "question": f"How many in game {n}?",
                        "query_id": f"d{n}",
                        "answer": {"number": number, "spans": spans, "date": date},
                    }
                    for n, (number, spans, date) in enumerate(
                        [
                            ("3", [], {}),
                            ("", ["Smith", "Jones"], {}),
                            ("17", [], {}),
                            ("", [], {"day": "4", "month": "May", "year": "1990"}),
                            ("0", [], {}),
                            ("", ["Miller"], {}),
                        ]
                    )
                ],
            }
        },
    ),
    "humaneval": ("HumanEval.jsonl.gz", FUNCTIONS),
    "mbpp": ("mbpp_release_v1.jsonl", FUNCTIONS),
    "arc_challenge": ("arc_challenge_test.json", COMMON),
    "arc_easy": ("arc_easy_test.json", COMMON),
    "openbookqa": ("openbookqa_test.json", COMMON),
    "social_iqa": ("social_i_qa_test.json", COMMON),
    "winogrande": ("winogrande_test.json", COMMON),
    "boolq": (
        "boolq_test.json",
        [
            {
                "instruction": f"Please answer with true or false, question: is {n} odd?\n\n"
                "Answer format: true/false",
                "answer": "true" if n % 2 else "false",
            }
            for n in range(6)
        ],
    ),
    "aqua": (
        "aqua_test.json",
        [
            {"instruction": f"2+{n}? Answer Choices: (A) 0 (B) {n + 2} (C) 0", "answer": "B"}
            for n in range(6)
        ],
    ),
    "multiarith": (
        "multiarith_test.json",
        [{"instruction": f" {n} and 2? ", "answer": f"{n + 2}.0"} for n in range(6)],
    ),
    "gsm8k": (
        "test.jsonl",
        [{"question": f"{n} thousand and 2?", "answer": f"so\n#### {n},002"} for n in range(1, 7)],
    ),
    "bbh": (
        "bbh/boolean.json",
        {"examples": [{"input": f"q{n}", "target": "(A)" if n % 2 else "True"} for n in range(6)]},
    ),
    "blimp": (
        "island.jsonl",
        [{"sentence_good": f"good {n}", "sentence_bad": f"bad {n}"} for n in range(6)],
    ),
}
TABLES = {
    "cola": ("dev.tsv", "".join(f"gj04\t{n % 2}\t*\ta \"sentence {n}\n" for n in range(6))),
    "stsb": ("dev.tsv", "index\tgenre\tsentence1\tsentence2\tscore\n"
             + "".join(f"{n}\tnews\ta {n}\tb {n}\t{n * 0.8:.3f}\n" for n in range(6))),
    "qqp": ("dev.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
            + "".join(f"{n}\t1\t2\ta {n}?\tb {n}?\t{n % 2}\n" for n in range(6))),
    "mnli": ("dev_matched.tsv", "index\tsentence1\tsentence2\tlabel1\tgold_label\n"
             + "".join(f"{n}\ta {n}\tb {n}\tneutral\t{label}\n" for n, label in
                       enumerate(("entailment", "neutral", "contradiction")))),
    "qnli": ("dev.tsv", "index\tquestion\tsentence\tlabel\n"
             + "".join(f"{n}\twho {n}?\ta {n}\t{('entailment', 'not_entailment')[n % 2]}\n"
                       for n in range(6))),
    "wnli": ("dev.tsv", "index\tsentence1\tsentence2\tlabel\n"
             + "".join(f"{n}\ta {n}\tb {n}\t{n % 2}\n" for n in range(6))),
    "toxigen": ("annotated_test.csv", "text,target_group,toxicity_ai,toxicity_human\n"
                + "".join(f"they {n},women,{n}.0,{n}.0\n" for n in range(6))),
    "surge_toxicity": ("toxicity_en.csv", "text,is_toxic\n"
                       + "".join(f"so {n},{('Toxic', 'Not Toxic')[n // 3]}\n" for n in range(6))),
    "crows_pairs": ("crows_pairs_anonymized.csv", ",sent_more,sent_less,bias_type\n"
                    + "".join(f"{n},more {n},less {n},age\n" for n in range(6))),
    "sst2": ("dev.tsv", "sentence\tlabel\n"
             + "".join(f'a "film {n}\t{n % 2}\n' for n in range(6))),
    "wmt": ("source.en", "".join(f"the big house of number {n}\n" for n in range(6))),
    "mmlu": ("test/law_test.csv", "question,choice0,choice1,choice2,choice3,answer\n"
             + "".join(f"q{n},a{n},b{n},c{n},c{n},{n % 4}\n" for n in range(6))),
    "truthfulqa": ("TruthfulQA.csv", "Category,Question,Best Answer,Incorrect Answers\n"
                   + "".join(f"c,q{n},true {n},false {n}; wrong {n}\n" for n in range(6))),
    "mts_dialog": ("MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv",
                   "ID,section_header,section_text,dialogue\n"
                   + "".join(f"{n},GENHX,the patient has {n} long sore toes,talk {n}\n"
                             for n in range(6))),
}  # fmt: skip


BESIDE = {
    "mnli": {
        "dev_mismatched.tsv": "index\tsentence1\tsentence2\tgold_label\n"
        + "".join(
            f"{n}\tc {n}\td {n}\t{label}\n"
            for n, label in enumerate(("entailment", "neutral", "contradiction"))
        )
    },
    "piqa": {"valid-labels.lst": "0\n1\n0\n1\n1\n0\n"},
    "wmt": {"reference.de": "".join(f"das grosse Haus mit der Nummer {n}\n" for n in range(6))},
}
"""Files of a task besides its first."""


BOTH = {"sentence1": "a", "sentence2": "b"}
HUB: dict[str, tuple[str, list[dict[str, Any]], list[str]]] = {
    "cola": (
        "cola/validation",
        [{"sentence": s, "label": n} for n, s in enumerate("ab")],
        ["no", "yes"],
    ),
    "sst2": (
        "validation",
        [{"sentence": s, "label": n} for n, s in enumerate("ab")],
        ["negative", "positive"],
    ),
    "mrpc": ("mrpc/validation", [{**BOTH, "label": n} for n in (0, 1)], ["no", "yes"]),
    "qqp": (
        "qqp/validation",
        [{"question1": "a?", "question2": "b?", "label": n} for n in (0, 1)],
        ["no", "yes"],
    ),
    "mnli": (
        "mnli/validation_mismatched",
        [{**PAIRS[0], "label": n} for n in (0, 1, 2)],
        ["yes", "maybe", "no"],
    ),
    "qnli": (
        "qnli/validation",
        [{"question": "q?", "sentence": "s", "label": n} for n in (0, 1)],
        ["yes", "no"],
    ),
    "wnli": ("wnli/validation", [{**BOTH, "label": n} for n in (0, 1)], ["no", "yes"]),
    "stsb": ("stsb/validation", [{**BOTH, "label": x} for x in (0.5, 5.0)], ["0.5", "5"]),
    "rte": ("rte/validation", [{**BOTH, "label": n} for n in (0, 1)], ["yes", "no"]),
    "cb": ("cb/validation", [{**PAIRS[0], "label": n} for n in (0, 1, 2)], ["yes", "no", "maybe"]),
    "copa": (
        "copa/validation",
        [
            {"premise": "p", "choice1": "x", "choice2": "y", "question": "cause", "label": n}
            for n in (0, 1)
        ],
        ["x", "y"],
    ),
    "wic": ("wic/validation", [{"word": "w", **BOTH, "label": n} for n in (0, 1)], ["no", "yes"]),
    "wsc": (
        "wsc/validation",
        [
            {
                "text": "Ann saw Eve, she left.",
                "span1_text": "Eve",
                "span2_text": "she",
                "span2_index": 3,
                "label": n,
            }
            for n in (0, 1)
        ],
        ["no", "yes"],
    ),
    "boolq": (
        "boolq/validation",
        [{"passage": "p", "question": "is it", "label": n} for n in (0, 1)],
        ["no", "yes"],
    ),
    "multirc": (
        "multirc/validation",
        [
            {
                "paragraph": "p",
                "question": "q",
                "answer": "a",
                "idx": {"paragraph": 0, "question": 0, "answer": n},
                "label": n,
            }
            for n in (0, 1)
        ],
        ["no", "yes"],
    ),
    "record": (
        "record/validation",
        [
            {
                "passage": "Ann met Bob.",
                "query": "@placeholder sang",
                "entities": ["Ann", "Bob"],
                "answers": [one],
            }
            for one in ("Bob", "Ann")
        ],
        ["Bob", "Ann"],
    ),
    "hellaswag": (
        "data/validation",
        [{"activity_label": "Go", "ctx": "He", "endings": list("abcd"), "label": "2"}] * 2,
        ["c", "c"],
    ),
    "piqa": (
        "plain_text/validation",
        [{"goal": "g", "sol1": "x", "sol2": "y", "label": n} for n in (0, 1)],
        ["x", "y"],
    ),
    "drop": (
        "data/validation",
        [
            {
                "section_id": "s",
                "query_id": f"{n}",
                "passage": "p",
                "question": "q",
                "answers_spans": {"spans": spans, "types": ["span"]},
            }
            for n, spans in enumerate((["3"], ["a", "b"]))
        ],
        ["3", "a, b"],
    ),
    "mmlu": (
        "all/test",
        [{"question": "q", "subject": "law", "choices": list("wxyz"), "answer": n} for n in (1, 3)],
        ["x", "z"],
    ),
    "truthfulqa": (
        "multiple_choice/validation",
        [{"question": "q", "mc1_targets": {"choices": ["t", "f"], "labels": [1, 0]}}] * 2,
        ["t", "t"],
    ),
    "arc_easy": (
        "ARC-Easy/test",
        [
            {
                "id": "1",
                "question": "q",
                "choices": {"text": ["x", "y"], "label": ["A", "B"]},
                "answerKey": key,
            }
            for key in "AB"
        ],
        ["x", "y"],
    ),
    "arc_challenge": (
        "ARC-Challenge/test",
        [
            {
                "id": "1",
                "question": "q",
                "choices": {"text": ["x", "y"], "label": ["1", "2"]},
                "answerKey": key,
            }
            for key in "12"
        ],
        ["x", "y"],
    ),
    "openbookqa": (
        "main/test",
        [
            {
                "id": "1",
                "question_stem": "q",
                "choices": {"text": ["x", "y"], "label": ["A", "B"]},
                "answerKey": key,
            }
            for key in "AB"
        ],
        ["x", "y"],
    ),
    "winogrande": (
        "winogrande_xl/validation",
        [{"sentence": "_ sat", "option1": "Ann", "option2": "Eve", "answer": key} for key in "12"],
        ["Ann", "Eve"],
    ),
    "aqua": (
        "raw/test",
        [{"question": "q", "options": ["A)1", "B)2"], "correct": key} for key in "AB"],
        ["1", "2"],
    ),
    "gsm8k": (
        "main/test",
        [{"question": "q", "answer": f"so\n#### {n}"} for n in (1, 2)],
        ["1", "2"],
    ),
    "math": (
        "algebra/test",
        [{"problem": "p", "type": "Algebra", "solution": f"\\boxed{{{n}}}"} for n in (1, 2)],
        ["1", "2"],
    ),
    "bbh": (
        "snarks/test",
        [{"input": "q", "target": one} for one in ("(A)", "(B)")],
        ["(A)", "(B)"],
    ),
    "blimp": (
        "island/train",
        [{"UID": "island", "sentence_good": f"g{n}", "sentence_bad": f"b{n}"} for n in (0, 1)],
        ["g0", "g1"],
    ),
    "wmt": (
        "de-en/test",
        [{"translation": {"de": "Haus", "en": one}} for one in ("house", "home")],
        ["house", "home"],
    ),
    "stereoset": (
        "intrasentence/validation",
        [
            {
                "id": f"{n}",
                "context": "c BLANK",
                "bias_type": "race",
                "sentences": {"sentence": ["anti", "pro", "none"], "gold_label": [0, 1, 2]},
            }
            for n in (0, 1)
        ],
        ["pro", "pro"],
    ),
    "toxigen": (
        "annotated/test",
        [
            {"text": "t", "target_group": "men", "toxicity_ai": x, "toxicity_human": x}
            for x in (1.0, 5.0)
        ],
        ["no", "yes"],
    ),
    "bbq": (
        "data/test",
        [
            {
                "context": "c",
                "question": "q",
                "ans0": "x",
                "ans1": "y",
                "ans2": "z",
                "label": n,
                "category": "Age",
                "context_condition": "ambig",
            }
            for n in (0, 2)
        ],
        ["x", "z"],
    ),
    "real_toxicity_prompts": (
        "train",
        [
            {"prompt": {"text": "a"}, "continuation": {"text": one}, "challenging": False}
            for one in "xy"
        ],
        ["x", "y"],
    ),
}
"""Where the hub keeps a split, two rows as it has them, and the right answers."""
