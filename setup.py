"""The part of the build that pyproject.toml cannot say: the C++ kernels, where a compiler is found.

The extension is optional: without a compiler the package installs and PyTorch computes instead.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "tutelage.kernels._library",
            sources=[
                f"src/tutelage/kernels/{name}.cpp"
                for name in ("decode", "packed", "tokenwise", "widen")
            ],
            depends=[
                f"src/tutelage/kernels/{name}.h"
                for name in ("attention", "element", "product", "quantized", "share")
            ],
            extra_compile_args=[
                "-O3",
                "-std=c++17",
                "-fopenmp",
                # Sums may be reordered (vectorized); unlike -ffast-math this leaves the process's
                # handling of tiny numbers alone.
                "-fassociative-math",
                "-fno-signed-zeros",
                "-fno-trapping-math",
                "-fno-math-errno",
            ],
            extra_link_args=["-fopenmp"],
            language="c++",
            optional=True,
        )
    ]
)
