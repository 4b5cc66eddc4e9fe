"""What the functions are held to."""

# Errors in ulp of the value, the first and the second derivative, as this project promises
# them for float32, and the bound near the roots of silu's derivatives.
FLOAT32_ULP = (2.5, 3.5, 5.0)

# The same for float64, as far as a search finds.
FLOAT64_ULP = (3.0, 4.0, 6.0)

# "Rounded once": half an ulp, and the thousandth that a wider type's own error can add.
ROUNDED_ONCE_ULP = 0.501

# tt-metal pull request #55727: sigma' over all of bfloat16 and over float32, the only
# published figures for it that are known to us.
TT_METAL_ULP = {"bfloat16": 2.0, "float32": 4.0}

# Within 0.1 of these |x| the ulp of a number below 2^-7 is taken to be that of 2^-7: the
# derivative passes through 0 at a number that float32 does not have.
SILU_ROOTS = {1: 1.2784645427610738, 2: 2.3993572805154677}
ROOT_REACH = 0.1
ROOT_LEAST = 2.0**-7

# The same for every partial derivative of functions of several arguments: in float32 and float64
# 1.5 ulp more; in 16 bits half an ulp for the one rounding at the end, and a hundredth for the
# error of the float32 number that is rounded.
JOINT_ULP = {
    "bfloat16": (0.51, 0.51, 0.51),
    "float16": (0.51, 0.51, 0.51),
    "float32": (4.0, 5.0, 6.5),
    "float64": (4.5, 5.5, 7.5),
}

# Focal loss with focus 2 and a label of 0 or 1, by its logit, in float32 and float64: the bound
# that its docstring states. The power and the bracket beside it add their errors: 70 million
# float32 numbers err by up to 5.91 and 7.95 ulp.
FOCAL_ULP = (7.0, 9.0)
