"""Our own text encoders (mlx-lm has none): one file a family, each with `ModelArgs` and `Model`.

`Model(ids, mask)`: ids (rows, length) int32 padded on the right, mask (rows, length) bool, true where a token is;
returns hidden states (rows, length, width). Parameter names are those of transformers 5.
"""

# `model_type` of config.json to the module here.
FAMILIES = {
    "bert": "bert",
    "roberta": "bert",
    "xlm-roberta": "bert",
    "modernbert": "modernbert",
    "nomic_bert": "nomic_bert",
}
