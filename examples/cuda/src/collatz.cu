// The kernel, and all that speaks to CUDA.

#include "collatz.h"

#include <cuda_runtime.h>

namespace {

__global__ void count_steps_kernel(std::uint64_t first, std::size_t count, std::uint32_t *steps)
{
    const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
    for (std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
         i += stride) {
        std::uint32_t taken = 0;
        for (std::uint64_t n = first + i; n != 1; ++taken) {
            n = n % 2 == 0 ? n / 2 : 3 * n + 1;
        }
        steps[i] = taken;
    }
}

// Memory of the GPU that is given back at the end of its scope.
class DeviceArray {
public:
    DeviceArray() = default;
    DeviceArray(const DeviceArray &) = delete;
    DeviceArray &operator=(const DeviceArray &) = delete;
    ~DeviceArray() { cudaFree(data_); }  // does nothing if there is none

    cudaError_t allocate(std::size_t count) { return cudaMalloc(&data_, count * sizeof *data_); }
    std::uint32_t *data() const { return data_; }

private:
    std::uint32_t *data_ = nullptr;
};

cudaError_t run(std::uint64_t first, std::size_t count, std::uint32_t *steps)
{
    constexpr unsigned threads = 256;
    constexpr unsigned most_blocks = 4096;  // enough for any GPU; a thread takes several numbers
    DeviceArray device;
    if (const cudaError_t error = device.allocate(count)) {
        return error;
    }
    const std::size_t needed = (count + threads - 1) / threads;
    const unsigned blocks = needed < most_blocks ? static_cast<unsigned>(needed) : most_blocks;
    count_steps_kernel<<<blocks, threads>>>(first, count, device.data());
    if (const cudaError_t error = cudaGetLastError()) {
        return error;  // above all: no code in this module for this GPU
    }
    // Waits for the kernel, and returns what went wrong in it.
    return cudaMemcpy(steps, device.data(), count * sizeof *steps, cudaMemcpyDeviceToHost);
}

}  // namespace

const char *collatz::count_steps(std::uint64_t first, std::size_t count, std::uint32_t *steps)
{
    const cudaError_t error = count == 0 ? cudaSuccess : run(first, count, steps);
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

int collatz::toolkit_version()
{
    return CUDART_VERSION;
}

std::vector<int> collatz::architectures()
{
    // nvcc defines the list for the host code too, with the values that __CUDA_ARCH__ takes.
    std::vector<int> list{__CUDA_ARCH_LIST__};
    for (int &architecture : list) {
        architecture /= 10;
    }
    return list;
}
