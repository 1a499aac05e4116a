"""Properties of ONNX operators that several rooms ask for: families of operators, and the sets made of them.

An operator stands in one family; every other set is made of families and of single names. Operators outside ai.onnx
are written `domain::Op`. What an operator means is told elsewhere: relevance by `layers`, the layers that replace
one by `decomposition` and `lowering`, each with a table of functions by operator.
"""

from __future__ import annotations


def ops(names: str) -> frozenset[str]:
    """Return the set of the operators that a text names."""
    return frozenset(names.split())


def operator_of(op_type: str, domain: str) -> str:
    """Return an operator as it is written here: `Op` of ai.onnx, `domain::Op` of another domain."""
    return op_type if domain in ("", "ai.onnx") else f"{domain}::{op_type}"


# Families: disjoint.

CONVOLUTIONS = ops("Conv ConvTranspose")
MATRIX_PRODUCTS = ops("MatMul Gemm Einsum")
WINDOW_POOLS = ops("MaxPool AveragePool LpPool")
GLOBAL_POOLS = ops("GlobalAveragePool GlobalMaxPool GlobalLpPool")
NORMALIZATIONS = ops("BatchNormalization LayerNormalization RMSNormalization InstanceNormalization")
RECURRENT = ops("LSTM GRU RNN")
TREES = ops("ai.onnx.ml::TreeEnsembleRegressor ai.onnx.ml::TreeEnsembleClassifier ai.onnx.ml::TreeEnsemble")
# They read words, or whole numbers that stand for some.
CATEGORIES = ops("ai.onnx.ml::OneHotEncoder ai.onnx.ml::LabelEncoder ai.onnx.ml::CategoryMapper")

# They hand on the columns of a table, each by itself.
SAME_COLUMNS = ops("Cast Identity ai.onnx.ml::Scaler ai.onnx.ml::Imputer ai.onnx.ml::Normalizer ai.onnx.ml::Binarizer")

# Layers of our own, into which a recurrent one is unfolded (see graph.recurrent): a sum of products with matrices; a
# state one step earlier; the cell states, computed step by step; a signal times its gate; values of some steps alone.
JOINT = "onnxlrp::Joint"
PREVIOUS = "onnxlrp::Previous"
CELL_STATES = "onnxlrp::CellStates"
GATED = "onnxlrp::Gated"
STEPS = "onnxlrp::Steps"
OWN = frozenset({JOINT, PREVIOUS, CELL_STATES, GATED, STEPS})

# Elementwise functions of one operand, by the sign of their results: >= 0 always; >= 0 where the operand is; any.
_NONNEGATIVE_FUNCTIONS = ops("Relu Sigmoid HardSigmoid Softplus Abs Exp Sqrt Cosh Acos Acosh")
_SIGN_KEEPING_FUNCTIONS = ops(
    """LeakyRelu Elu Celu Selu ThresholdedRelu HardSwish Swish Mish Gelu Erf Tanh Atan Asin Sinh Asinh Atanh Softsign
    Reciprocal Sign Ceil Floor Round"""
)
_SIGNED_FUNCTIONS = ops("Neg Log Sin Cos Tan Clip")
# Elementwise, of several operands that broadcast.
ARITHMETIC = ops("Add Sub Mul Div")
_EXTREMES = ops("Max Min")
_SUMS = ops("Sum Mean")
_BROADCASTING = ops("Pow PRelu Mod Where")
_LOGIC = ops("And Or Xor Not IsNaN IsInf Equal Greater GreaterOrEqual Less LessOrEqual")
# Elementwise, between integers and the floats that they stand for.
ROUNDINGS = ops("QuantizeLinear DequantizeLinear DynamicQuantizeLinear")

COPIES = ops("Identity Dropout Cast")
# The elements in the same order, on other axes.
RESHAPES = ops("Reshape Flatten Squeeze Unsqueeze")
GATHERS = ops("Gather GatherElements GatherND")
SCATTERS = ops("ScatterElements ScatterND")
_REARRANGEMENTS = ops("Transpose DepthToSpace SpaceToDepth")
_SELECTIONS = ops("Slice Split Trilu")
_REPETITIONS = ops("Expand Tile")

SOFTMAXES = ops("Softmax LogSoftmax Hardmax")
ARG_EXTREMES = ops("ArgMax ArgMin")
_NONNEGATIVE_REDUCTIONS = ops("ReduceL1 ReduceL2 ReduceSumSquare")
_SIGN_KEEPING_REDUCTIONS = ops("ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd")
REDUCTIONS = _NONNEGATIVE_REDUCTIONS | _SIGN_KEEPING_REDUCTIONS
# Of one element it is the result.
KEEP_ONE = _SIGN_KEEPING_REDUCTIONS
# Their results are as long as they find at run time.
OPEN_ENDED = ops("Compress NonZero Unique")
# They hold graphs of their own.
CONTROL_FLOW = ops("If Loop Scan")
# Their results differ from run to run.
RANDOM = ops("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli")

# Shapes and batch.

ELEMENTWISE = (
    _NONNEGATIVE_FUNCTIONS
    | _SIGN_KEEPING_FUNCTIONS
    | _SIGNED_FUNCTIONS
    | ARITHMETIC
    | _EXTREMES
    | _SUMS
    | _BROADCASTING
    | _LOGIC
    | COPIES
    | ops("QuantizeLinear DequantizeLinear")
)
# They move a window over spatial axes, or treat each channel alike: one more spatial axis changes nothing.
SPATIAL = CONVOLUTIONS | WINDOW_POOLS | ops("BatchNormalization")
# With one operand these hand it on.
IDENTITIES_OF_ONE = _EXTREMES | _SUMS | ops("Concat")
# Their results have the axes of the operand, some of another length.
KEEPS_AXES = SCATTERS | ops("Concat Slice Pad Resize Expand Tile Split")
# Reductions, and Slice, whose axes are an operand.
AXES_AS_OPERAND = _SIGN_KEEPING_REDUCTIONS | ops("ReduceL2 ReduceSumSquare Slice")
# Operators that work along `axis`, and what it is where it is not stated.
DEFAULT_AXIS = {
    **dict.fromkeys(SOFTMAXES | ops("LayerNormalization RMSNormalization TopK LpNormalization"), -1),
    **dict.fromkeys(ARG_EXTREMES | ops("Concat Gather GatherElements ScatterElements Compress"), 0),
}
# Until opset 12 they flatten their operand from `axis` on.
FLATTENING_UNTIL_12 = SOFTMAXES

# Of one operand, a function of it alone: two such may cancel in a sum.
WITHOUT_WEIGHTS = ELEMENTWISE | RESHAPES | REDUCTIONS | _REPETITIONS | ops("Transpose")

# Of these, with one operand that is no constant, axes of the operand are those of the result.
KEEP_EACH_AXIS = ELEMENTWISE | ops("MatMul LayerNormalization Slice Split")

# Of these the axes of the first operand are those of the result, whatever the others are.
KEEP_FIRST_AXES = ops("Slice Split Pad")

# Infinities (see graph.recognition.infinities): what reads them from constants, as masks are, and what hands them on.

READ_INFINITIES = ARITHMETIC | SCATTERS | _REPETITIONS | ops("Sum Where Concat Pad")
HAND_INFINITIES_ON = (
    READ_INFINITIES
    | GATHERS
    | COPIES
    | RESHAPES
    | _SELECTIONS
    | _EXTREMES
    | ops("Mean Neg Abs Transpose LeakyRelu PRelu")
)

# Signs (see facts.nonnegative).

NONNEGATIVE = _NONNEGATIVE_FUNCTIONS | _NONNEGATIVE_REDUCTIONS | ops("Softmax LpPool GlobalLpPool")
# Nonnegative where every activation and constant that they read is.
KEEPS_SIGN = (
    _SIGN_KEEPING_FUNCTIONS
    | _SIGN_KEEPING_REDUCTIONS
    | _SUMS
    | COPIES
    | ops("Add Mul Div Min PRelu Where Concat CumSum LRN LpNormalization DynamicQuantizeLinear")
    | ops("MaxPool AveragePool GlobalAveragePool GlobalMaxPool")
)
# Nonnegative where their first operand is; the others are indices and sizes.
ROUTES = RESHAPES | GATHERS | _REARRANGEMENTS | _SELECTIONS | _REPETITIONS | ops("TopK")
SHARES = ops("Sigmoid HardSigmoid Softmax")
# The activation of a gated linear unit, beside the bounded ones.
GLU_ACTIVATIONS = ops("Relu LeakyRelu Elu Celu Selu ThresholdedRelu HardSwish Swish Mish Gelu Softplus")
BOUNDED = SHARES | ops("Tanh Sin Cos Clip Erf Softsign Sign")

# Places in a network.

WEIGHTED = CONVOLUTIONS | MATRIX_PRODUCTS
# Of these the weight meets the operand as it is stored: patterns are computed for them.
WEIGHTED_AS_STORED = WEIGHTED - ops("ConvTranspose Einsum")
RECTIFIERS = ops("Relu Clip LeakyRelu PRelu Elu Selu Celu ThresholdedRelu")
# What turns logits into scores for each class; what makes a decision of scores.
SCORINGS = ops("Softmax LogSoftmax Sigmoid")
# They may stand between a sum and the division by it: copies, and what keeps it away from zero.
AROUND_A_DENOMINATOR = COPIES | RESHAPES | ops("Clip Expand Max Add")
# The last of the layers that divide a vector by its norm.
ENDS_OF_A_NORMALISATION = COPIES | RESHAPES | ops("Div Mul LpNormalization")
# Operators that multiply: an infinite factor makes NaN of every zero. Elsewhere infinity has a meaning, such as in a
# mask that is added to the scores of an attention, or as the bound of a Clip.
FACTORS = CONVOLUTIONS | MATRIX_PRODUCTS | NORMALIZATIONS | ops("Mul Div PRelu")
# Arithmetic in which a score may be turned into another.
TURNS = ops("Neg Mul Add Sub")
# Of positive numbers they add to logarithms, or multiply them.
FACTORS_AND_POWERS = ops("Mul Div Pow")
# Of probabilities they make other numbers for each class, such as the mean of two models.
MIXES_SCORES = (
    ARITHMETIC
    | RESHAPES
    | COPIES
    | REDUCTIONS
    | IDENTITIES_OF_ONE
    | _EXTREMES
    | ops("Clip Pow Log Exp Neg Sqrt Relu Round Where Greater GreaterOrEqual Less LessOrEqual")
    | ops("Transpose Slice Gather GlobalAveragePool")
)
# Between 0 and 1: probabilities, or what stands for them.
BOUNDED_SCORES = SCORINGS | ops("HardSigmoid")
# Functions of a score that keep the order of scores.
MONOTONE = ops("Clip Log Exp Sqrt")
# A score against a number: of Greater's kind where the score stands first and the result rises with it.
RISING_COMPARISONS = ops("Greater GreaterOrEqual")
INEQUALITIES = RISING_COMPARISONS | ops("Less LessOrEqual")
# By a small constant, what keeps a score off zero or one.
SHIFTS = _EXTREMES | ops("Add Sub")
# They make a decision of a value.
COMPARISONS = INEQUALITIES | ops("Sign Equal")
# They take constants from an activation: a codebook's words, the means of a mixture, support vectors.
SHIFTS_OF_CODES = ops("Sub Add")
# Between differences and the sum of their squares: standard deviations, and moves.
SCALES_DIFFERENCES = RESHAPES | ops("Mul Div MatMul Transpose")
# Of differences they make distances, at once or of their squares.
SUMS_OF_SQUARES = ops("ReduceSumSquare ReduceL2")
SUMS_OR_MEANS = ops("ReduceSum ReduceMean")
# They multiply what is left of a descriptor by the share of a word.
WEIGHS = ops("Mul MatMul")
# Of quadratic functions of one activation they make such again, where their other operands are constants.
SQUARES = ops("ReduceSumSquare Pow")
ADDITIONS = ops("Add Sub Sum")
QUADRATIC = ARITHMETIC | COPIES | SQUARES | ops("Gemm MatMul Neg Sum Concat ReduceSum")
# Votes of classes are made of pairwise decisions by these.
VOTES = ARITHMETIC | _SUMS | COPIES | RESHAPES | COMPARISONS | ops("Neg Abs Not Concat Gather Slice Where ReduceSum")
# Between distances and the logarithm of a sum of their exponentials: roots, factors, shifts, moves.
AROUND_DISTANCES = RESHAPES | COPIES | ops("Sqrt Mul Div Neg Add Sub Pad Gather Concat Transpose")
DECISIONS = ops("Hardmax ArgMax TopK ai.onnx.ml::ZipMap")
# They may stand behind a head (MobileNet: Softmax, then Reshape); behind anything else they belong to the model.
BEHIND_HEADS = RESHAPES | ops("Transpose QuantizeLinear DequantizeLinear")
# They may stand between a gate and the product that it scales.
BETWEEN_GATE_AND_PRODUCT = RESHAPES | ROUNDINGS | ops("Transpose Expand Identity Resize Slice Cast")
# They move or copy what a map shows, and make no new map.
COPIES_OF_MAPS = COPIES | RESHAPES | ops("Transpose Pad Slice Resize QuantizeLinear DequantizeLinear")
# They may stand between the input and its normalisation.
COPIES_OF_PIXELS = COPIES | ops("Transpose")
# They hand integers of one operand on whatever their unit is, in one result.
ROUTES_OF_INTEGERS = RESHAPES | ops("Identity Transpose Slice Gather")
# They may stand between ids and the table that these are looked up in: each id keeps its place, and stays one word.
KEEPS_IDS = RESHAPES | COPIES | SHIFTS | ops("Clip Where")
# Along one axis they read every place of it, and keep the places of all other axes.
MIXES_ONE_AXIS = SOFTMAXES | ops("LayerNormalization RMSNormalization LpNormalization Concat")
# They have channels on the first axis of a sample, whatever lies before them.
CHANNELS_FIRST = CONVOLUTIONS | WINDOW_POOLS | GLOBAL_POOLS | ops("DepthToSpace SpaceToDepth InstanceNormalization LRN")
