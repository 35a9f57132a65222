// What the CUDA half of the module offers to the Python half.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace collatz {

// Writes to steps[i] how many steps take first + i to 1, on the GPU; returns null, or what went
// wrong in CUDA's words. The numbers are at least 1 and less than 2**32: from none of those does the
// way to 1 leave 64 bits.
const char *count_steps(std::uint64_t first, std::size_t count, std::uint32_t *steps);

// The version of the CUDA toolkit that compiled this, as CUDA writes it: 13000 is 13.0.
int toolkit_version();

// The architectures that this was compiled for, ascending: 80 and 90 for compute_80 and compute_90.
std::vector<int> architectures();

}  // namespace collatz
