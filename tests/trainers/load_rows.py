"""Run by the Python of an environment that has LLaMA-Factory: load exported data sets with its own loader.

Arguments: the folder, then names of data sets. Prints {name: {"rows", "first"}} with the first row as it understood it.
"""

from __future__ import annotations

import json
import sys

from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import DataArguments, ModelArguments
from transformers import Seq2SeqTrainingArguments

if __name__ == "__main__":
    folder, names = sys.argv[1], sys.argv[2:]
    data = DataArguments(dataset=names, dataset_dir=folder, template="default")
    model = ModelArguments(model_name_or_path="unused", cache_dir=f"{folder}/cache")
    training = Seq2SeqTrainingArguments(output_dir=f"{folder}/out", use_cpu=True, report_to="none")
    found = {}
    for name, described in zip(names, get_dataset_list(names, folder), strict=True):
        rows = _load_single_dataset(described, model, data, training)
        first = {key: rows[0][key] for key in ("_prompt", "_response", "_system")}
        found[name] = {"rows": len(rows), "first": first}
    print(json.dumps(found))
