"""What a GPU would do with the graphs of a step, read from TensorFlow's registry of kernels: no GPU is needed."""

import functools

import pytest
import tensorflow as tf
from checks import SMALL, batch_of, five_problems
from tensorflow.python.framework import kernels, op_def_registry

from t2t_lite.decoding.beam_search import BeamDecoder
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.hparams.transformers import UNREAD
from t2t_lite.layers.noise import step_seed
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.models.transformer import Transformer
from t2t_lite.training.optimizer import make_optimizer

# Calls, loops and arguments: their parts are looked at, they run nothing themselves.
STRUCTURE = {
    "PartitionedCall",
    "StatefulPartitionedCall",
    "While",
    "StatelessWhile",
    "If",
    "StatelessIf",
    "Placeholder",
    "Const",
}


@functools.cache
def graph_of(precision, model_class=MultiModel, **more):
    """The graph of the gradients of five problems and their update, with all functions that it calls."""
    hparams = SMALL.replace(precision=precision, label_smoothing=0.1, encoder_blocks=1, decoder_blocks=1, **more)
    problems = five_problems()
    model = model_class(hparams, problems, {"words": 30})
    weights = model.trainable_variables
    optimizer = make_optimizer(hparams, weights)

    @tf.function(autograph=False)
    def step(batches, noise):
        with tf.GradientTape() as tape:
            scores = [model.score(name, batch, noise) for name, batch in batches.items()]
            loss = tf.add_n([tf.reduce_sum(s.loss) + tf.reduce_sum(s.expert_sums) for s in scores])
        return optimizer._step(
            tuple(range(len(weights))), tf.constant(0.1), tf.constant(True), *tape.gradient(loss, weights)
        )

    def spec(x):
        return tf.TensorSpec([None] * min(x.shape.rank, 2) + x.shape[2:], x.dtype)

    batches = {name: {k: spec(x) for k, x in batch_of(problem).items()} for name, problem in problems.items()}
    return step.get_concrete_function(batches, tf.TensorSpec.from_tensor(step_seed(1, 2))).graph.as_graph_def()


def functions(graph):
    """Lists of nodes: the graph's own, and those of each function."""
    return [graph.node, *(function.node_def for function in graph.library.function)]


@functools.cache
def constrained(op):
    """The operation's GPU kernels, each with {attribute: the types that it is for}."""
    registered = kernels.get_registered_kernels_for_op(op).kernel
    return [
        (kernel, {c.name: set(c.allowed_values.list.type) for c in kernel.constraint})
        for kernel in registered
        if kernel.device_type in ("GPU", "DEFAULT")
    ]


def gpu_kernel(node):
    """The GPU kernel that would run the node, or None."""
    for kernel, allowed in constrained(node.op):
        if all({node.attr[name].type, *node.attr[name].list.type} & types for name, types in allowed.items()):
            return kernel
    return None


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_every_operation_of_a_step_has_a_gpu_kernel(precision):
    check_kernels(graph_of(precision))


@pytest.mark.slow
def test_every_operation_of_a_transformer_with_masked_sounds_has_a_gpu_kernel():
    masks = {"audio_time_masks": 1, "audio_time_mask_frames": 3}
    check_kernels(graph_of("float32", Transformer, **UNREAD, audio_form="spectrogram", **masks))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [GreedyDecoder, functools.partial(BeamDecoder, beam_size=2)])
def test_every_operation_of_decoding_has_a_gpu_kernel(make, precision):
    hparams = SMALL.replace(precision=precision, encoder_blocks=1, decoder_blocks=1)
    decoder, batch = make(MultiModel(hparams, five_problems(), {"words": 30})), {"inputs": tf.constant([[2, 3, 1]])}
    decoder("translate", batch, 3)
    (search,) = decoder._searches.values()
    check_kernels(search.get_concrete_function().graph.as_graph_def())


def check_kernels(graph):
    nodes = [node for nodes in functions(graph) for node in nodes]
    missing = {node.op for node in nodes if node.op not in STRUCTURE and "CPU" not in node.device}
    missing = {node.op for node in nodes if node.op in missing and gpu_kernel(node) is None}
    assert len(nodes) > 500 and not missing


def outputs_on_host(node):
    """Whether each output of a node is in the memory of the host, by the names of its outputs."""
    outputs = op_def_registry.get(node.op).output_arg
    kernel = None if node.op in STRUCTURE else gpu_kernel(node)
    if "CPU" in node.device:
        return {output.name: True for output in outputs}
    return {output.name: kernel is not None and output.name in kernel.host_memory_arg for output in outputs}


def copies_to_host(nodes):
    """The tensors that some node reads on the host and another has made on the GPU."""
    by_name = {node.name: node for node in nodes}
    copied = set()
    for node in nodes:
        if node.op in STRUCTURE:
            continue
        kernel = gpu_kernel(node)
        on_host = set(kernel.host_memory_arg) if kernel else set()
        position = 0
        inputs = [name for name in node.input if not name.startswith("^")]
        for argument in op_def_registry.get(node.op).input_arg:
            count = node.attr[argument.number_attr].i if argument.number_attr else 1
            if argument.type_list_attr:
                count = len(node.attr[argument.type_list_attr].list.type)
            for name in inputs[position : position + count]:
                source, *rest = name.split(":")
                if source not in by_name or by_name[source].op in STRUCTURE or by_name[source].op == "Const":
                    continue
                made = by_name[source]
                made_on_host = outputs_on_host(made)
                output = rest[0] if rest and rest[0] in made_on_host else next(iter(made_on_host))
                if not made_on_host[output] and ("CPU" in node.device or argument.name in on_host):
                    copied.add(f"{made.name} to {node.name}")
            position += count
    return copied


def test_the_only_copy_to_the_host_is_that_of_how_many_positions_each_expert_has():
    # The nodes outside of functions stand for what a step calls from Python, where all shapes are known.
    copies = [copies_to_host(function.node_def) for function in graph_of("float32").library.function]
    copies = [copied for copied in copies if copied]
    assert copies and all(len(copied) == 1 and "experts" in next(iter(copied)) for copied in copies), copies
