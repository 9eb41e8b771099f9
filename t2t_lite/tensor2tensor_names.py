"""The names that tensor2tensor's users know, and what does the same here; messages on unknown names quote them.

docs/from-tensor2tensor.md has them as tables.
"""

FLAGS = {
    "problems": "--problem takes several, separated by commas",
    "schedule": "training evaluates by itself (--eval_every); t2t-eval --checkpoint=watch is continuous_eval",
    "random_seed": "--hparams=seed=3",
    "local_eval_frequency": "--eval_every",
    "eval_throttle_seconds": "--eval_every, in steps",
    "eval_early_stopping_steps": "--early_stop_patience, in evaluations",
    "eval_early_stopping_metric": "--early_stop_metric",
    "eval_early_stopping_metric_minimize": "--early_stop_metric knows which metrics are better when lower",
    "eval_use_test_set": "t2t-eval --split=test",
    "eval_run_autoregressive": "--eval_decoded",
    "keep_checkpoint_max": "--keep_checkpoints",
    "save_checkpoints_secs": "--save_minutes by time, --save_every by steps",
    "save_checkpoints_steps": "--save_every",
    "keep_checkpoint_every_n_hours": "the last --keep_checkpoints and the best one are kept",
    "hparams_range": "there is no search; run t2t-trainer once for each value of --hparams",
    "autotune_objective": "there is no search; --keep_best=METRIC keeps the best checkpoint of a run",
    "checkpoint_path": "--checkpoint=STEP, latest or best, in --output_dir",
    "warm_start_from_second": "--warm_start_from takes one run",
    "worker_replicas": "--distribute=multi_worker, with the machines in TF_CONFIG",
    "ps_replicas": "there are no parameter servers; --distribute=multi_worker sums gradients",
    "ps_gpu": "there are no parameter servers; --worker_gpu is the number of GPUs",
    "sync": "updates are always synchronous",
    "use_tpu": "CPUs and GPUs only",
    "cloud_mlengine": "CPUs and GPUs of your own only",
    "worker_gpu_memory_fraction": "memory is taken as it is needed",
    "gpu_order": "the environment variable CUDA_VISIBLE_DEVICES",
    "dbgprofile": "--profile_steps=10,20",
    "num_shards": "the problem's attribute `shards`",
    "max_cases": "the problem's own examples() decides how many there are",
    "only_list": "--list",
    "usr_dir": "--t2t_usr_dir",
    "export_as_tfhub": "t2t-exporter writes a SavedModel",
    "servable_name": "t2t-server serves the export's own name",
    "inputs_once": "echo TEXT | t2t-decoder --decode_from_file=-",
    "decode_shards": "split the file, and decode each part",
    "decode_in_memory": "t2t-decoder --show=N decodes examples of the dev split; t2t-eval scores them",
}

HPARAMS = {
    "batch_size": "batch_tokens; there it counted the tokens of one GPU, here those of all devices together",
    "num_hidden_layers": "encoder_blocks and decoder_blocks; the MultiModel has mixer_blocks too",
    "num_encoder_layers": "encoder_blocks",
    "num_decoder_layers": "decoder_blocks",
    "learning_rate_schedule": "schedule",
    "learning_rate_decay_scheme": "schedule",
    "learning_rate_constant": "learning_rate, the peak",
    "learning_rate_warmup_steps": "warmup_steps",
    "learning_rate_decay_steps": "decay_steps",
    "attention_dropout": "dropout, one rate for all",
    "relu_dropout": "dropout, one rate for all",
    "layer_prepostprocess_dropout": "dropout, one rate for all",
    "optimizer_adam_beta1": "adam_beta1",
    "optimizer_adam_beta2": "adam_beta2",
    "optimizer_adam_epsilon": "adam_epsilon",
    "optimizer_multistep_accumulate_steps": "accumulate_steps",
    "clip_grad_norm": "clip_norm",
    "activation_dtype": "precision=bfloat16",
    "weight_dtype": "weights are float32; precision=bfloat16 computes in 16 bits",
    "max_length": "max_length of the problem's Text feature",
    "max_input_seq_length": "max_length of the problem's Text feature",
    "max_target_seq_length": "max_length of the problem's Text feature",
    "moe_num_experts": "num_experts",
    "moe_k": "experts_per_position",
    "moe_loss_coef": "balance_loss",
    "shared_embedding_and_softmax_weights": "share_embeddings",
    "multiply_embedding_mode": "scale_embeddings",
    "symbol_modality_num_shards": "embeddings are one matrix",
}

DECODE_HPARAMS = {
    "extra_length": "max_length, the tokens of an answer, not those beyond the input's",
    "write_beam_scores": "the flag --return_scores",
    "num_samples": "the flag --show=N",
    "identity_output": "answers are always the model's",
    "shards": "split the file, and decode each part",
    "shard_id": "split the file, and decode each part",
    "max_input_size": "max_length of the problem's Text feature; longer inputs are cut, with a warning",
    "delimiter": "an input is a line",
    "save_images": "t2t-inspect draws pictures",
    "use_last_position_only": "a token always costs the same",
    "force_decode_length": "max_length",
}

ITEMS = {  # registered problems, models and hparams sets
    "transformer_small": "transformer_base, with smaller --hparams; transformer_tiny is for a CPU",
    "transformer_base_v1": "transformer_base",
    "transformer_base_v2": "transformer_base",
    "transformer_base_v3": "transformer_base",
    "transformer_base_single_gpu": "transformer_base; batch_tokens counts the tokens of all devices together",
    "transformer_big_single_gpu": "transformer_big; batch_tokens counts the tokens of all devices together",
    "multimodel": "multi_model",
    "translate_ende_wmt32k": "translate_ende_wmt14",
    "translate_ende_wmt8k": "translate_ende_wmt14",
    "translate_enfr_wmt32k": "translate_enfr_wmt14",
    "translate_enfr_wmt8k": "translate_enfr_wmt14",
    "image_imagenet224": "image_imagenet2012",
    "image_ms_coco_characters": "caption_coco",
    "image_ms_coco_tokens32k": "caption_coco",
    "librispeech": "speech_librispeech",
    "librispeech_clean": "speech_librispeech",
    "wsj_parsing": "parsing_wsj",
    "parsing_english_ptb8k": "parsing_wsj",
    "algorithmic_reverse_binary40": "README.md's reverse_words is such a problem",
}

DECORATORS = {  # of tensor2tensor.utils.registry
    "register_problem": "@registry.problems.register",
    "register_base_problem": "@registry.problems.register",
    "register_hparams": "@registry.hparams_sets.register",
    "register_model": "@registry.models.register",
    "register_modality": "@registry.modalities.register",
    "register_symbol_modality": "@registry.modalities.register",
    "register_image_modality": "@registry.modalities.register",
    "register_ranged_hparams": "none: there is no search",
    "problem": "t2t_lite.problems.problem.get_problem",
    "model": "registry.models.get",
    "hparams": "registry.hparams_sets.get",
    "list_problems": "registry.problems.describe",
    "list_models": "registry.models.describe",
}

CLASSES = {  # of tensor2tensor.data_generators
    "Text2TextProblem": "Problem with inputs = Text() and targets = Text()",
    "Text2SelfProblem": "Problem with an input; there are no language models",
    "Text2ClassProblem": "Problem with inputs = Text() and targets = Label(classes)",
    "Image2ClassProblem": "Problem with inputs = Image() and targets = Label(classes)",
    "ImageProblem": "Problem with inputs = Image()",
    "SpeechRecognitionProblem": "Problem with inputs = Audio() and targets = Text()",
    "QuestionAndContext2TextProblem": "Problem with two inputs",
    "SubwordTextEncoder": "Text(vocab=NAME, vocab_size=N)",
    "VocabType": "Text(vocab=NAME, vocab_size=N)",
}

_KINDS = {"flag": FLAGS, "hparam": HPARAMS, "decode hparam": DECODE_HPARAMS, "decorator": DECORATORS, "class": CLASSES}


def hint(kind: str, name: str) -> str:
    """Returns "; instead of tensor2tensor's NAME: ..." for a message, or "" if the name is not one of tensor2tensor's.

    Args:
      kind: "flag", "hparam", "decode hparam", "decorator", "class", or the kind of a registry.
      name: the unknown name.
    """
    if kind == "flag" and name.startswith("hp_"):
        return f"; tensor2tensor's --{name} is --hparams={name[3:]}=VALUE here"
    found = _KINDS.get(kind, ITEMS).get(name)
    quoted = f"--{name}" if kind == "flag" else f"'{name}'"
    return f"; instead of tensor2tensor's {quoted}: {found}" if found else ""
